"""``scope bench accuracy`` on a tiny model: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.conftest import Ran, run

PLUGIN = """
from typing import Literal
import scope_core as scope
from bench import tiny


class SquareSpec(tiny.SquareSpec):
    name: Literal["acme.squares"] = "acme.squares"


class Squares(tiny.Squares):
    pass


def load(source):
    return tiny.loaded()


def unreachable(source):
    raise scope.ZooError("'far' is out of reach; run `scope models fetch far` elsewhere")


@scope.parts.hookimpl
def scope_tasks():
    yield scope.parts.Entry(SquareSpec, Squares, "pictures with a square")


@scope.parts.hookimpl
def scope_zoo():
    ZooEntry = scope.adapters.ZooEntry
    yield ZooEntry("tiny", "model", f"{__name__}:load", "memory", "tiny", recipe="scope@4", adapter="llava")
    yield ZooEntry("far", "model", f"{__name__}:unreachable", "far", "far away", recipe="scope@4")
"""

Bench = Callable[..., Ran]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """``bench("--keep", "4")`` runs the benchmark on the tiny model, with a cache of its own."""
    path = tmp_path / "squares.py"
    path.write_text(PLUGIN, encoding="utf-8")

    def run_it(*args: str | Path) -> Ran:
        given = {"--model": "tiny", "--task": "acme.squares", "--cache-dir": tmp_path / "cache", "--limit": "4"}
        more = [word for option, value in given.items() if option not in args for word in (option, value)]
        return run("--plugin", path, "bench", "accuracy", *args, *more)

    yield run_it
    sys.modules.pop("scope_plugin_file_squares", None)


SPECS = ("--specs", "scope,top_k_attention,random")


def test_tables_and_ranking(bench: Bench) -> None:
    ran = bench(*SPECS, "--keep", "4,2")
    assert ran.code == 0, ran.stderr
    assert "tiny-clip, acme.squares (test): % right of 12 questions about 4 images" in ran.words
    for name in ("scope", "top_k_attention", "random", "label oracle", "all tokens", "shuffled images", "blind"):
        assert f"\n{name} " in ran.stdout
    assert "at 4: " in ran.stdout
    assert "not separated" in ran.stdout
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    assert "44 of 44" in ran.stderr  # 4 images x (3 specs and the oracle at 2 budgets, 3 other bounds)


def test_json_and_files(bench: Bench, tmp_path: Path) -> None:
    ran = bench(*SPECS, "--keep", "4", "--json", "--out", tmp_path / "report" / "new")
    assert ran.code == 0, ran.stderr
    written = json.loads((tmp_path / "report" / "new" / "results.json").read_text("utf-8"))
    assert written == ran.json
    assert written["budgets"] == [4]
    assert (tmp_path / "report" / "new" / "table.md").read_text("utf-8").startswith("**tiny-clip, acme.squares")
    assert (tmp_path / "report" / "new" / "plot.png").stat().st_size > 1000


def test_the_second_time_nothing_is_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from scope_bench.accuracy.questioner import Questioner

    first = bench(*SPECS, "--keep", "4", "--json")
    asked: list[int] = []
    ask = Questioner.ask
    monkeypatch.setattr(Questioner, "ask", lambda *args: asked.append(1) or ask(*args))
    assert bench(*SPECS, "--keep", "4", "--json").json == first.json
    assert not asked
    assert bench(*SPECS, "--keep", "4", "--json", "--fresh").code == 0
    assert asked


def test_no_cache_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    assert bench(*SPECS, "--keep", "4", "--no-cache").code == 0
    assert not (tmp_path / "cache").exists()


def test_quick_is_a_few_budgets_and_pictures(bench: Bench) -> None:
    half = bench("--specs", "scope", "--quick", "--limit", "2", "--json")
    assert "warning: scope@64 is not measured: scope@64: budget 'tokens' keeps 64" in half.stderr  # of 16 tokens
    assert (half.json["budgets"], [one["keep"] for one in half.json["skipped"]]) == ([64, 16], [64])
    quick = bench("--specs", "scope", "--quick", "--keep", "3", "--limit", "100000", "--json")
    assert (quick.json["examples"], quick.json["budgets"]) == (60, [3])


def test_budgets_of_their_own_and_shares(bench: Bench, tmp_path: Path) -> None:
    ran = bench("--specs", "scope@3,scope@2,random@5", "--keep", "own,25%,4", "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.stderr
    kept = {(run["name"], run["keep"]): run["kept"] for run in ran.json["runs"] if run["role"] != "bound"}
    assert kept == {
        ("scope@3", "own"): 3, ("scope@2", "own"): 2, ("random", "own"): 5,
        ("scope", "25%"): 4, ("random", "25%"): 4, ("scope", 4): 4, ("random", 4): 4,
    }  # fmt: skip
    assert ran.json["budgets"] == [4, "25%", "own"]
    assert [run["kept"] for run in ran.json["runs"] if run["name"] == "label oracle"] == [4, 4]
    table = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "own: each at the budget of its own spec, so they keep different" in " ".join(table.split())
    assert "**What is kept at their own budgets**" in table
    assert (tmp_path / "out" / "plot.png").stat().st_size > 1000


def test_a_failing_method_is_skipped_with_its_reason(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "late.yaml").write_text("recipe: fastv\nbudget: 4\nat: decoder[40]\n")
    ran = bench("--specs", f"random,{tmp_path / 'late.yaml'},cdpruner", "--keep", "4", "--out", tmp_path / "out")
    assert ran.code == 0, ran.stderr
    for name, why in (("late", "no point 'decoder[40]'"), ("cdpruner", "needs clip.text_similarity")):
        assert f"warning: {name}@4 is not measured: " in ran.stderr
        assert f"- {name} at 4: " in ran.stdout
        assert why in ran.stdout
        assert f"- {name} at 4: " in (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "at 4: random" in ran.stdout


def test_times_of_an_earlier_run_are_marked(bench: Bench) -> None:
    first = bench("--specs", "scope,random", "--keep", "4")
    assert "*" not in first.stdout
    mixed = bench("--specs", "scope,random,uniform_grid", "--keep", "4")
    rows = {line.split()[0]: line for line in mixed.stdout.partition("What is kept")[2].splitlines() if "." in line}
    assert (rows["scope"].count("*"), rows["random"].count("*"), rows["uniform_grid"].count("*")) == (2, 2, 0)
    assert "*: time of an earlier run" in mixed.words
    assert "*" not in bench("--specs", "scope,random,uniform_grid", "--keep", "4", "--fresh").stdout


def test_the_models_own_recipe_and_every_control_by_default(bench: Bench) -> None:
    ran = bench("--keep", "4", "--json")
    names = {run["name"] for run in ran.json["runs"] if run["role"] != "bound"}
    assert {"scope", "random", "uniform_grid"} <= names
    assert set(ran.json["controls"]) == names - {"scope"}


def test_a_note_where_no_control_takes_part(bench: Bench) -> None:
    assert "no control takes part" in bench("--specs", "scope", "--keep", "4").stderr


def test_patterns_and_the_same_method_twice(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "same.yaml").write_text("recipe: scope\nbudget: 9\n")
    specs = f"scope,top_k_*,scope@3,{tmp_path / 'same.yaml'}"
    ran = bench("--specs", specs, "--keep", "4", "--json")
    assert [run["name"] for run in ran.json["runs"] if run["role"] == "spec"] == [
        "scope",
        "top_k_attention",
        "top_k_attention@no_cls",
    ]
    assert "'scope@3' is the same as 'scope' and runs once" in ran.stderr
    assert "same.yaml' is the same as 'scope' and runs once" in ran.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--task", "acme.sqares"), 3, "did you mean 'acme.squares'?"),
        (("--task", "{name: acme.squares, qestions: 2}"), 3, "has no option 'qestions' (did you mean 'questions'?)"),
        (("--task", "gone.yaml"), 3, "task 'gone.yaml' cannot be read"),
        (("--model", "tny"), 3, "did you mean 'tiny'?"),
        (("--model", "far"), 4, "out of reach"),
        (("--split", "tset"), 3, "did you mean 'test'?"),
        (("--specs", "scpoe"), 3, "did you mean 'scope'?"),
        (("--specs", "gone.yaml"), 3, "gone.yaml"),
        (("--keep", "17"), 3, "scope@17: "),
        (("--keep", "0"), 2, "'0' is not a token count"),
        (("--keep", "4,x"), 2, "'x' is not a token count"),
        (("--limit", "0"), 2, "than or equal to 1"),
    ],
)
def test_what_is_refused(bench: Bench, args: tuple[str, ...], code: int, message: str) -> None:
    ran = bench(
        *args, *(() if "--specs" in args else ("--specs", "scope")), *(() if "--keep" in args else ("--keep", "4"))
    )
    assert (ran.code, ran.stdout) == (code, "")
    assert message in ran.stderr


def test_task_options_from_a_file(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("name: acme.squares\nquestions: 2\n", encoding="utf-8")
    assert bench("--specs", "scope", "--keep", "4", "--task", path, "--json").json["questions"] == 8


def test_a_folder_that_cannot_be_made(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = bench("--specs", "scope", "--keep", "4", "--out", tmp_path / "file" / "below")
    assert (ran.code, ran.stdout) == (4, "")


def test_without_matplotlib_all_but_the_plot(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_bench.accuracy.command.importlib.util.find_spec", lambda name: None)
    ran = bench("--specs", "scope,random", "--keep", "4", "--out", tmp_path / "report")
    assert ran.code == 0
    assert "pip install matplotlib" in ran.stderr
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == ["results.json", "table.md"]

"""``scope bench speed``: what it prints and writes on tiny sizes, and what it refuses. No time is judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.conftest import FAKE_ZOO, Ran, run

SMALL = ("--tokens", "30,50", "--keep", "4,40", "--width", "8", "--rounds", "2")
Bench = Callable[..., Ran]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("scope_bench.speed.command.GROWTH", (20, 50))
    yield lambda *args: run("--plugin", FAKE_ZOO, "bench", "speed", *args)
    sys.modules.pop("scope_plugin_file_fake_zoo", None)


def test_tables_of_both_bare_sections(bench: Bench) -> None:
    ran = bench(*SMALL, "--specs", "scope,random", "--no-libraries")
    assert ran.code == 0, ran.stderr
    for title in (
        "Selecting 4 of 30 tokens of width 8",
        "Selecting 40 of 50 tokens",
        "scope: 4 of N tokens",
        "scope: K of 50",
    ):
        assert title in ran.words
    assert "Fitted to time, over all: N^" in ran.words
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())


def test_a_profile_by_stage(bench: Bench, tmp_path: Path) -> None:
    few = ("--width", "8", "--rounds", "1", "--specs", "scope,random", "--out", tmp_path)
    ran = bench("profile", "--tokens", "30,50", *few)
    assert ran.code == 0, ran.stderr
    for text in ("scope: 30 of width 8", "K = 10", "K = 50", "normalise", "Python, other checks", "whole: `Pruner."):
        assert text.replace("30 of", "30 tokens of") in ran.words
    assert "note: profile measures only the first of --specs: scope" in ran.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"speed.json", "speed.md"}
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())


def test_recipes_beside_their_formulas(bench: Bench) -> None:
    ran = bench("published", "--tokens", "64", "--width", "16", "--keep", "8", "--rounds", "1")
    assert ran.code == 0, ran.stderr
    for text in ("Recipes beside plain loops of their formulas: 64 tokens of width 16", "as published, ms", "tome"):
        assert text in ran.words
    wrong = bench("published", "--tokens", "60", "--width", "16", "--keep", "8")
    assert (wrong.code, wrong.stdout) == (3, "")
    assert "needs a square number of tokens" in wrong.stderr


def test_many_groups_in_one_call(bench: Bench) -> None:
    ran = bench("batches", "--tokens", "16", "--width", "8", "--keep", "4", "--rounds", "1")
    assert ran.code == 0, ran.stderr
    for text in ("scope: 4 tokens of each group, of width 8", "one call, ms", "a call each, ms", "ragged"):
        assert text in ran.words


def test_json_and_files(bench: Bench, tmp_path: Path) -> None:
    ran = bench(
        "select", *SMALL, "--specs", "scope", "--no-libraries", "--json", "--threads", "1", "--out", tmp_path / "new"
    )
    assert ran.code == 0, ran.stderr
    assert json.loads((tmp_path / "new" / "speed.json").read_text("utf-8")) == ran.json
    assert set(ran.json) == {"clock", "allocator", "machine", "effort", "features", "select", "skipped"}
    assert ran.json["machine"]["threads"] == 1
    assert "torch" in ran.json["machine"]["versions"]
    assert ran.json["features"] == "smooth random fields (seed 0)"
    assert "Selecting 4 of 30" in (tmp_path / "new" / "speed.md").read_text("utf-8")
    assert (tmp_path / "new" / "speed.png").stat().st_size > 1000


def test_methods_that_cannot_be_timed_are_skipped_with_their_reason(bench: Bench) -> None:
    few = ("--tokens", "20", "--keep", "4", "--width", "8", "--rounds", "1", "--no-libraries", "--json")
    ran = bench("select", *few, "--specs", "visionzip,scope")
    assert ran.code == 0, ran.stderr
    assert "warning: visionzip is not timed: visionzip: merger 'keep_cls'" in ran.stderr
    assert list(ran.json["skipped"]) == ["visionzip"]
    assert [row["name"] for row in ran.json["select"][0]["rows"] if row["role"] == "spec"] == ["scope"]
    ran = bench("generate", "--model", "fake-model", *few, "--specs", "scope,cdpruner")
    assert (ran.code, list(ran.json["skipped"])) == (0, ["cdpruner"]), ran.stderr
    alone = bench("select", *few, "--specs", "visionzip")
    assert (alone.code, alone.stdout) == (3, "")


def test_a_model_brings_its_own_sections(bench: Bench) -> None:
    few = ("--tokens", "20", "--keep", "4", "--width", "8", "--rounds", "1", "--no-libraries", "--specs", "scope")
    ran = bench("--model", "fake-model", *few, "--json")
    assert ran.code == 0, ran.stderr
    assert {"select", "growth", "capture", "generate"} <= set(ran.json)
    assert [row["name"] for row in ran.json["generate"]["rows"]] == ["unpruned", "scope@4"]
    assert "its weights are random" in ran.stderr


def test_absent_libraries_are_named_with_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_bench.speed.baselines._found", lambda module: None)
    ran = bench("select", *SMALL, "--specs", "scope")
    assert "pip install submodlib-py apricot-select" in ran.stderr
    assert "scope, matrix given" in ran.stdout


def test_without_numba_it_is_said_with_the_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "numba is not installed, so greedy runs in torch, which is slower: pip install numba"
    few = (
        "select",
        "--tokens",
        "30",
        "--keep",
        "4",
        "--width",
        "8",
        "--rounds",
        "1",
        "--no-libraries",
        "--specs",
        "scope",
    )
    from scope_bench.speed import machine

    monkeypatch.setattr(machine, "version", lambda package: "1.0")
    assert told not in bench(*few).stderr
    monkeypatch.setattr(machine, "version", lambda package: None if package == "numba" else "1.0")
    ran = bench(*few)
    assert f"note: {told}" in " ".join(ran.stderr.split())
    assert "without numba" in ran.words


def test_the_zoo_recommends_where_no_spec_is_given(bench: Bench) -> None:
    ran = bench("select", "--tokens", "30", "--keep", "4", "--rounds", "1", "--no-libraries", "--json")
    assert [row["name"] for row in ran.json["select"][0]["rows"] if row["role"] == "spec"] == ["scope"]


def test_the_reference_can_be_left_out(bench: Bench, tmp_path: Path) -> None:
    few = ("--specs", "scope,random", "--no-libraries", "--no-loop", "--no-reference", "--json", "--out", tmp_path)
    ran = bench(*SMALL, *few)
    assert ran.code == 0, ran.stderr
    assert [row["name"] for row in ran.json["select"][0]["rows"]] == ["scope", "random"]
    assert ran.json["growth"]["floor"] is None
    assert "note: growth measures only the first of --specs: scope" in ran.stderr
    assert (tmp_path / "speed.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("selct",), 2, "there is no section 'selct' (did you mean 'select'?). Sections: select, growth, profile"),
        (("select", "--tokens", "x"), 2, "'x' is not a token count"),
        (("select", "--tokens", "30", "--keep", "31"), 3, "cannot keep 31 of 30 tokens"),
        (("select", "--tokens", "10000000"), 3, "needs about 1490116.1 GiB"),
        (("select", "--specs", "scpoe"), 3, "did you mean 'scope'?"),
        (("select", "--specs", "mmtok"), 3, "mmtok: "),
        (("select", "--clock", "cpu"), 2, "give --threads 1"),
        (("select", "--device", "nothing"), 3, "device 'nothing' cannot be used here"),
        (("generate", "--model", "fake-modle"), 3, "did you mean 'fake-model'?"),
        (("generate", "--model", "fake-model", "--keep", "17"), 3, "scope@17: "),
        (("select", "--photos", "gone.jpg"), 4, "gone.jpg"),
    ],
)
def test_what_is_refused(bench: Bench, args: tuple[str, ...], code: int, message: str) -> None:
    ran = bench(*args, "--no-libraries", "--rounds", "1")
    assert (ran.code, ran.stdout) == (code, "")
    assert message in " ".join(ran.stderr.split())


def test_without_matplotlib_all_but_the_plot(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_bench.speed.command.importlib.util.find_spec", lambda name: None)
    ran = bench("select", *SMALL, "--specs", "scope", "--no-libraries", "--out", tmp_path)
    assert ran.code == 0
    assert "pip install matplotlib" in ran.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["speed.json", "speed.md"]


def test_a_folder_that_cannot_be_made(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert bench("select", *SMALL, "--out", tmp_path / "file" / "below").code == 4

"""``scope compare``: its numbers against plain Python, who may take part, the table, the picture, the files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

import scope_core as scope
from cli.conftest import Ran
from scope_bench.compare.figure import MARGIN, SIDE, columns_of, draw, footnotes
from scope_bench.compare.measure import measure
from scope_bench.compare.report import Comparison, comparison
from scope_bench.compare.tables import runs_of, tables
from scope_core.adapters import Declaration
from scope_core.cli.methods import read_methods
from scope_core.cli.output import plain_text
from scope_core.cli.photos import open_pictures
from scope_core.cli.selections import Judge
from scope_core.drawing.text import wrapped

TOWER = ("--tower", "fake-tower")
GRID, N = 12, 144
FOUR = "scope@16,top_k_attention@16,random@16,uniform_grid@16"

READS_MORE = '''
"""Saliency sources that a tower alone cannot feed."""
from typing import Literal
import scope_core as scope

class TextSpec(scope.parts.ComponentSpec):
    """Similarity to the question."""
    name: Literal["acme.text"] = "acme.text"

class Text(scope.parts.SaliencySource[TextSpec]):
    """t"""
    needs = frozenset({"clip.text_similarity"})
    def score(self, tokens):
        return tokens.features.sum(2)

class LateSpec(scope.parts.ComponentSpec):
    """Attention of the language model."""
    name: Literal["acme.late"] = "acme.late"

class Late(scope.parts.SaliencySource[LateSpec]):
    """a"""
    needs = frozenset({"decoder.last_query_attention[2]"})
    def score(self, tokens):
        return tokens.features.sum(2)

@scope.parts.hookimpl
def scope_saliency_sources():
    yield scope.parts.Entry(TextSpec, Text, "similarity to the question")
    yield scope.parts.Entry(LateSpec, Late, "attention of the language model")
'''


@pytest.fixture
def needy(tmp_path: Path) -> tuple[str, Path, Path]:
    """``--plugin FILE``, and two spec files: one needs the question, one the language model."""
    (tmp_path / "reads_more.py").write_text(READS_MORE)
    for name in ("text", "late"):
        (tmp_path / f"{name}.yaml").write_text(f"recipe: top_k_attention\nsaliency: acme.{name}\nbudget: 16\n")
    return str(tmp_path / "reads_more.py"), tmp_path / "text.yaml", tmp_path / "late.yaml"


def tokens_of(*names: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """``(features, saliency)`` of photographs, by the fake tower itself."""
    tower = sys.modules["scope_plugin_file_fake_zoo"].tower("")
    made = []
    for picture in open_pictures(list(names)):
        tokens = tower.encode([picture.image], at="vision", needs=frozenset({"vision.cls_attention[-2]"}))
        attention = tokens.signal("vision.cls_attention[-2]")[0].sum(0)
        made.append((tokens.features[0].double().numpy(), attention.double().numpy()))
    return made


def coverage(features: np.ndarray, kept: list[int], theta: float) -> float:
    """Token by token."""
    covered = 0
    for one in features:
        cosines = [float(one @ features[k] / np.linalg.norm(one) / np.linalg.norm(features[k])) for k in kept]
        covered += max(cosines, default=-2.0) >= theta - 1e-6
    return covered / len(features)


def test_the_numbers_are_those_of_plain_python(fake: Callable[..., Ran]) -> None:
    names = ("demo:coffee", "demo:chelsea", "demo:rocket")
    ran = fake("compare", *names, *TOWER, "--specs", FOUR, "--thetas", "0.95,0.5,0.8", "--json")
    assert ran.code == 0
    facts = ran.json
    assert facts["thetas"] == [0.5, 0.8, 0.95]
    assert (facts["saliency"], facts["judged_at"], facts["tower"]) == ("cls_attention", "vision", "fake-tower")
    seen: dict[str, dict[str, list[float]]] = {}
    for photograph, (features, attention) in zip(facts["photographs"], tokens_of(*names), strict=True):
        assert (photograph["tokens"], photograph["grid"]) == (N, [GRID, GRID])
        for row in photograph["methods"]:
            assert row["kept"] == sorted(row["picks"])
            assert len(set(row["kept"])) == row["kept_count"] == row["rows"] == 16
            for theta in ("0.5", "0.8", "0.95"):
                expected = coverage(features, row["kept"], float(theta))
                assert row["theta_coverage"][theta] == pytest.approx(expected, abs=1e-6)
                seen.setdefault(row["label"], {}).setdefault(theta, []).append(expected)
            assert row["saliency_share"] == pytest.approx(attention[row["kept"]].sum() / attention.sum(), rel=1e-5)
            assert row["select_ms"] > 0
        kept = [set(row["kept"]) for row in photograph["methods"]]
        wanted = [[len(a & b) / len(a | b) for b in kept] for a in kept]
        assert np.allclose(photograph["overlap"], wanted)
    for one in facts["methods"]:
        for theta, values in seen[one["label"]].items():
            spread = one["theta_coverage"][theta]
            assert spread["mean"] == pytest.approx(np.mean(values), abs=1e-6)
            assert spread["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
            assert (spread["min"], spread["max"]) == pytest.approx((min(values), max(values)), abs=1e-6)
    each = [photograph["overlap"] for photograph in facts["photographs"]]
    for row, column in combinations(range(4), 2):
        values = [one[row][column] for one in each]
        assert facts["overlap"][row][column] == facts["overlap"][column][row]
        assert facts["overlap"][row][column]["mean"] == pytest.approx(np.mean(values))


def test_the_picks_are_those_of_the_library(fake: Callable[..., Ran]) -> None:
    facts = fake("compare", "demo:coffee", *TOWER, "--specs", FOUR, "--json").json
    tower = sys.modules["scope_plugin_file_fake_zoo"].tower("")
    for row in facts["photographs"][0]["methods"]:
        pruner = scope.Pruner(row["label"])
        picture = open_pictures(["demo:coffee"])[0].image
        assert row["picks"] == pruner.prune(tower.encode([picture], at="vision", needs=pruner.needs)).picks[0].tolist()


def test_a_method_gets_the_same_numbers_in_any_company(fake: Callable[..., Ran]) -> None:
    def numbers(*args: str) -> Any:
        facts = fake("compare", "demo:coffee", "demo:chelsea", *TOWER, *args, "--json").json
        one = next(m for m in facts["methods"] if m["label"] == "top_k_attention@16")
        return {key: value for key, value in one.items() if key != "select_ms"}

    assert numbers("--specs", FOUR) == numbers("--specs", "random@3,divprune@4,top_k_attention@16", "--at", "vision")


def test_json_is_what_the_schema_says(fake: Callable[..., Ran], needy: tuple[str, Path, Path]) -> None:
    plugin, text, _ = needy
    args = ("compare", "demo:coffee", *TOWER, "--specs", f"{FOUR},{text}", "--skip", "--json")
    ran = fake("--plugin", plugin, *args)
    schema = Comparison.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(ran.json, schema)
    assert ran.json["format"] == "scope-core/compare/1"
    assert Comparison.model_validate(ran.json).timing.processes == 1
    assert ran.json["methods"][0]["kept"]["std"] is None  # one photograph has no spread
    assert ran.json["methods"][0]["spec"]["budget"]["keep"] == 16
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**ran.json, "photographs": None}, schema)


def test_timing_says_how(fake: Callable[..., Ran]) -> None:
    timing = fake("compare", "demo:coffee", *TOWER, "--specs", "random@4", "--repeats", 3, "--json").json["timing"]
    assert timing == {
        "statistic": "median", "repeats": 3, "processes": 1, "threads": torch.get_num_threads(), "device": "cpu",
    }  # fmt: skip
    ran = fake("compare", "demo:coffee", *TOWER, "--specs", "random@4", "--repeats", 3)
    assert f"median of up to 3 runs in one process, threads: {torch.get_num_threads()}, on cpu" in ran.words


def test_keep_sets_every_budget(fake: Callable[..., Ran], tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: scope\nbudget: 0.5\n")
    facts = fake("compare", "demo:coffee", *TOWER, "--specs", f"{mine},random@3", "--keep", 7, "--json").json
    assert [one["kept"]["mean"] for one in facts["methods"]] == [7, 7]
    assert facts["notes"] == []
    facts = fake("compare", "demo:coffee", *TOWER, "--specs", f"{mine},random@3", "--json").json
    assert [one["kept"]["mean"] for one in facts["methods"]] == [72, 3]
    assert "--keep K sets one budget for all" in facts["notes"][0]


def test_nothing_kept_covers_nothing(fake: Callable[..., Ran]) -> None:
    facts = fake("compare", "demo:coffee", *TOWER, "--specs", "scope,random", "--keep", 0, "--json").json
    assert [one["theta_coverage"]["0.7"]["mean"] for one in facts["methods"]] == [0, 0]
    assert facts["overlap"][0][1]["mean"] == 1  # two empty sets are the same


# -- who takes part ------------------------------------------------------------------------------------------------


def test_the_same_spec_twice_runs_once_and_other_specs_get_other_labels(
    fake: Callable[..., Ran], tmp_path: Path
) -> None:
    for folder, alpha in (("a", 0.5), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(f"recipe: scope\nbudget: 5\ncombiner: {{alpha: {alpha}}}\n")
    specs = f"scope@5,{tmp_path / 'a' / 'mine.yaml'},{tmp_path / 'b' / 'mine.yaml'},scope@5"
    facts = fake("compare", "demo:coffee", *TOWER, "--specs", specs, "--json").json
    assert [one["label"] for one in facts["methods"]] == ["scope@5", "scope+alpha=0.5@5", "scope+alpha=2@5"]
    assert facts["methods"][2]["given"].endswith("b/mine.yaml")
    assert facts["notes"] == ["'scope@5' is the same as 'scope@5' and runs once"]
    shown = fake("compare", "demo:coffee", *TOWER, "--specs", specs).stdout.replace(" ", "").replace("\n", "")
    assert f"scope+alpha=2@5is{tmp_path / 'b' / 'mine.yaml'}" in shown


def test_a_point_that_the_tower_lacks_is_noted_and_at_moves_the_method(fake: Callable[..., Ran]) -> None:
    args = ("compare", "demo:coffee", *TOWER, "--specs", "random@9,divprune@9")
    ran = fake(*args)
    assert ran.code == 0
    assert "note: divprune@9 is left out: it takes tokens at 'projected'" in ran.stderr
    assert "--at vision runs it there instead" in ran.stderr
    assert "not run why" in ran.words
    facts = fake(*args, "--json").json
    assert ([one["label"] for one in facts["methods"]], facts["not_run"][0]["label"]) == (["random@9"], "divprune@9")
    moved = fake(*args, "--at", "vision")
    assert moved.code == 0
    assert "* 2 tokens taken at 'vision', not at 'projected' as the method does" in moved.words
    facts = fake(*args, "--at", "vision", "--json").json
    assert [one["at"] for one in facts["methods"]] == ["vision", "vision"]
    assert facts["methods"][0]["notes"] == []
    assert facts["methods"][1]["notes"] == ["tokens taken at 'vision', not at 'projected' as the method does"]


def test_signals_of_text_and_decoder_are_named(fake: Callable[..., Ran], needy: tuple[str, Path, Path]) -> None:
    plugin, text, late = needy
    args = ("--plugin", plugin, "compare", "demo:coffee", *TOWER, "--specs", f"{text},scope@16,{late}")
    ran = fake(*args)
    assert ran.code == 3
    assert f"top_k_attention+saliency=acme.text@16, {text}: its saliency 'acme.text'" in ran.stderr
    assert (
        "needs clip.text_similarity, which fake-tower alone does not have: a tower alone has no question" in ran.stderr
    )
    assert "put another one first, or list it as not run with --skip" in ran.stderr
    assert ran.stdout == ""
    later = fake(*args[:-1], f"scope@16,{late}")
    assert later.code == 0
    assert "note: top_k_attention+saliency=acme.late@16 is left out: its saliency 'acme.late'" in later.stderr
    assert "decoder.last_query_attention[2]" in later.stderr
    facts = fake(*args, "--skip", "--json").json
    assert [one["label"] for one in facts["methods"]] == ["scope@16"]
    assert [(one["label"], one["signals"]) for one in facts["not_run"]] == [
        ("top_k_attention+saliency=acme.text@16", ["clip.text_similarity"]),
        ("top_k_attention+saliency=acme.late@16", ["decoder.last_query_attention[2]"]),
    ]
    assert "not run why" in fake(*args, "--skip").words


def test_stages_inside_a_language_model_cannot_run(fake: Callable[..., Ran], tmp_path: Path) -> None:
    staged, inside = tmp_path / "staged.yaml", tmp_path / "inside.yaml"
    staged.write_text('recipe: scope\nbudget: 32\nthen: [{at: "decoder[2]", budget: 16}]\n')
    inside.write_text('recipe: random\nbudget: 16\nat: "decoder[2]"\n')
    ran = fake("compare", "demo:coffee", *TOWER, "--specs", f"{staged},{inside},scope@16", "--skip")
    assert ran.code == 0
    assert "it also prunes at decoder[2], inside a language model" in ran.stderr
    assert "it takes tokens at 'decoder[2]', but fake-tower alone has tokens only at: vision" in ran.stderr
    assert "--at vision" not in ran.stderr


def test_what_fails_on_a_photograph(fake: Callable[..., Ran]) -> None:
    args = ("compare", "demo:coffee", "demo:rocket", *TOWER, "--specs", "scope@16,random@999")
    ran = fake(*args)
    assert ran.code == 3
    assert "random@999 fails on 'demo:coffee'" in ran.stderr
    assert "144" in ran.stderr
    facts = fake(*args, "--skip", "--json").json
    assert [one["label"] for one in facts["methods"]] == ["scope@16"]
    assert facts["not_run"][0]["label"] == "random@999"
    assert "fails on 'demo:coffee'" in facts["not_run"][0]["reason"]
    assert [len(one["methods"]) for one in facts["photographs"]] == [1, 1]


def test_nothing_left_is_an_error_even_with_skip(fake: Callable[..., Ran]) -> None:
    for specs in ("divprune@9", "random@999"):
        ran = fake("compare", "demo:coffee", *TOWER, "--specs", specs, "--skip")
        assert ran.code == 3
        assert specs in ran.stderr
        assert "No method is left" in ran.stderr


def test_every_recipe_that_can_run_is_the_default(fake: Callable[..., Ran]) -> None:
    facts = fake("compare", "demo:coffee", *TOWER, "--keep", 32, "--json").json
    ran = {one["given"] for one in facts["methods"]}
    not_run = {one["given"] for one in facts["not_run"]}
    assert {"scope", "top_k_attention", "random", "uniform_grid", "coverage_only"} <= ran
    assert "divprune" in not_run
    assert ran | not_run == set(scope.default_registry().names("recipe"))
    more = fake("compare", "demo:coffee", *TOWER, "--specs", "all,divprune", "--keep", 32)
    assert more.code == 0
    assert "note: divprune@32 is left out" in more.stderr  # named by itself
    assert more.stderr.count("is left out") == 1  # those of 'all' are in the table


def test_words_and_patterns_stand_for_several_methods(fake: Callable[..., Ran]) -> None:
    def given(specs: str) -> list[str]:
        facts = fake("compare", "demo:coffee", *TOWER, "--specs", specs, "--at", "vision", "--json").json
        return sorted(one["given"] for one in (*facts["methods"], *facts["not_run"]))

    records = scope.default_registry().records("recipe")
    assert given("controls@9") == sorted(f"{one.name}@9" for one in records if one.item.control)
    assert given("visi*@9,scope@9") == sorted(
        ["scope@9", *(f"{one.name}@9" for one in records if one.name.startswith("visi"))]
    )
    ran = fake("compare", "demo:coffee", *TOWER, "--specs", "nothing*@9")
    assert (ran.code, "no recipe matches 'nothing*'" in ran.stderr) == (3, True)


@pytest.mark.parametrize(
    ("args", "code", "wanted"),
    [
        (["--specs", "scoop@9", "--skip"], 3, "did you mean 'scope'?"),
        (["--specs", "no-such.yaml"], 3, "no-such.yaml"),
        (["--specs", " , "], 2, "no spec is given"),
        (["--thetas", "0.5,high"], 2, "cosines"),
        (["--thetas", "1.5"], 2, "from -1 to 1"),
        (["--thetas", ","], 2, "cosines"),
        (["--keep", "-1"], 2, "keep"),
        (["--repeats", "0"], 2, "repeats"),
        (["--at", "visoin"], 3, "did you mean 'vision'?"),
        (["--saliency", "cls_atention"], 3, "did you mean 'cls_attention'?"),
        (["--saliency", "uniform"], 3, "cannot be measured"),
        (["--tower", "fake-twoer"], 3, "did you mean 'fake-tower'?"),
        (["--out", "compared.pdf"], 2, ".png, .jpg"),
        (["--out", "nowhere/compared.png"], 2, "folder 'nowhere' does not exist"),
        (["--out", "nowhere/compared"], 2, "folder 'nowhere' does not exist"),
    ],
)
def test_mistakes(
    fake: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = fake("compare", "demo:coffee", *([] if "--tower" in args else TOWER), *args)
    assert ran.code == code
    assert wanted in ran.stderr
    assert ran.stdout == ""


def test_pictures_that_are_not_there(fake: Callable[..., Ran]) -> None:
    assert fake("compare", "nowhere.jpg", *TOWER).code == 4
    assert fake("compare", *TOWER).code == 2


def test_the_saliency_is_one_that_the_tower_has(fake: Callable[..., Ran]) -> None:
    args = ("compare", "demo:coffee", "--tower", "fake-bare", "--specs", "random@9,uniform_grid@9", "--json")
    assert fake(*args).json["saliency"] == "received_attention"
    ran = fake(*args, "--saliency", "cls_attention")
    assert ran.code == 3
    assert "received_attention" in ran.stderr
    with_cls = fake("compare", "demo:coffee", *TOWER, "--specs", "random@9", "--json")
    assert with_cls.json["saliency"] == "cls_attention"


def test_one_point_judges_all(fake: Callable[..., Ran]) -> None:
    args = ("compare", "demo:coffee", "--tower", "fake-two-points", "--specs", "random@9,scope@9", "--json")
    assert fake(*args).json["judged_at"] == "vision"
    deep = fake(*args, "--at", "acme.deep").json
    assert deep["judged_at"] == "acme.deep"
    assert [one["at"] for one in deep["methods"]] == ["acme.deep", "acme.deep"]


class TwoGrids:
    """A tower with 8 x 8 tokens at one point and 4 x 4, means of four, at another."""

    declaration = Declaration(model="TwoGrids", points={"acme.fine": "8 x 8", "acme.coarse": "4 x 4"}, offers=())

    def view(self, image: Image.Image) -> Image.Image:
        return image.resize((112, 112))

    def encode(self, images: list[Image.Image], *, at: str, needs: frozenset[str]) -> scope.VisualTokens:
        side = {"acme.fine": 8, "acme.coarse": 4}[at]
        values = torch.frombuffer(bytearray(images[0].resize((side, side)).tobytes()), dtype=torch.uint8)
        return scope.VisualTokens.of(values.float().view(1, side * side, 3) - 128, grid=(side, side))


def test_tokens_that_are_not_alike_are_not_compared(tmp_path: Path) -> None:
    registry = scope.default_registry()
    files = {}
    for at in ("acme.fine", "acme.coarse"):
        files[at] = tmp_path / f"{at}.yaml"
        files[at].write_text(f"recipe: coverage_only\nbudget: 5\nat: {at}\n")
    tower, picture = TwoGrids(), open_pictures(["demo:coffee"])[0]
    methods = read_methods(list(map(str, files.values())), registry)
    methods.narrow("two-grids", tower.declaration.points, tower.declaration)
    judge = Judge("acme.fine", (0.9,), None, 1)
    steps: list[tuple[int, int]] = []
    selected = measure(tower, methods, [("coffee", picture.image)], judge, progress=lambda *step: steps.append(step))
    result = comparison("two-grids", selected, methods, [picture], registry=registry)
    assert steps == [(1, 2), (2, 2)]
    fine, coarse = result.methods
    assert fine.notes == []
    assert coarse.notes == ["its tokens are not those at 'acme.fine', so coverage is measured on its own features"]
    own = tower.encode([picture.image], at="acme.coarse", needs=frozenset()).features[0].double().numpy()
    kept = result.photographs[0].methods[1].kept
    assert coarse.theta_coverage["0.9"].mean == pytest.approx(coverage(own, kept, 0.9), abs=1e-6)
    assert result.photographs[0].overlap == [[1, None], [None, 1]]
    assert result.overlap[0][1] is None
    assert "n/a" in plain_text(tables(result))
    assert draw(result, [tower.view(picture.image)], selected.images).width > 2 * SIDE


# -- the table -----------------------------------------------------------------------------------------------------


def test_the_table(fake: Callable[..., Ran]) -> None:
    ran = fake("compare", "demo:coffee", "demo:chelsea", *TOWER, "--specs", FOUR)
    assert ran.code == 0
    for wanted in ("method", "θ 0.8", "saliency", "ms", "overlap (Jaccard)", "scope@16", "mean and standard deviation"):
        assert wanted in ran.words
    assert "--out FILE.png" in ran.stderr


@pytest.mark.parametrize("photographs", [("demo:coffee",), ("demo:coffee", "demo:chelsea")])
def test_the_table_fits_80_columns_and_loses_nothing(fake: Callable[..., Ran], photographs: tuple[str, ...]) -> None:
    specs = ",".join(f"{name}@{keep}" for name in ("top_k_attention", "random", "scope@no_cls") for keep in range(1, 6))
    thetas = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
    args = ("--tower", "fake-tower", "--specs", specs, "--skip", "--thetas", thetas, "--repeats", 1, "--json")
    result = Comparison.model_validate(fake("compare", *photographs, *args).json)
    text = plain_text(tables(result, width=80))
    assert max(map(len, text.splitlines())) <= 80
    for theta in thetas.split(","):
        assert f"θ {theta}" in text
    halves = text.split("overlap (Jaccard)")[1]
    count = len(result.methods)
    assert count >= 10
    cells = [f"{result.overlap[row][column].mean:.0%}" for row in range(count) for column in range(row)]
    assert halves.count("%") == len(cells)  # each pair once


def test_short_forms() -> None:
    assert runs_of([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7-8"
    assert runs_of([4]) == "4"
    assert [list(run) for run in columns_of(7, 6)] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [list(run) for run in columns_of(1, 6)] == [[0]]
    assert wrapped(["one two three"], 80, 16)[0] == "one two"


# -- the picture and the files -------------------------------------------------------------------------------------


def test_the_picture_shows_what_each_method_keeps(fake: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "compared.png"
    ran = fake("compare", "demo:coffee", "demo:rocket", *TOWER, "--specs", FOUR, "--out", path, "--json")
    assert ran.json["out"] == [str(path)]
    page = Image.open(path).convert("RGB")
    grey = np.asarray(page.convert("L"))[:, MARGIN : MARGIN + SIDE]
    dark = [bool(line.min() < 120) for line in grey]  # lines of the photographs at the left, and of words
    first = next(y for y in range(len(dark)) if all(dark[y : y + SIDE]))
    second = next(y for y in range(first + SIDE, len(dark)) if all(dark[y : y + SIDE]))
    cell = SIDE // GRID
    for photograph, top in zip(ran.json["photographs"], (first, second), strict=True):
        for place, row in enumerate(photograph["methods"], 1):
            left = MARGIN + place * (SIDE + 22)
            for token in range(N):
                x, y = left + token % GRID * cell, top + token // GRID * cell
                outlined = page.getpixel((x, y)) == (255, 210, 63)
                assert outlined == (token in row["kept"]), (row["label"], token)


def test_a_folder_gets_table_picture_and_json(fake: Callable[..., Ran], tmp_path: Path) -> None:
    for folder in (tmp_path / "made", tmp_path / "made"):  # new, and there already
        ran = fake("compare", "demo:coffee", *TOWER, "--specs", FOUR, "--out", folder)
        assert ran.code == 0
        written = {path.name for path in folder.iterdir()}
        assert written == {"compare.png", "compare.txt", "compare.json"}
    facts = json.loads((folder / "compare.json").read_text())
    assert facts["out"] == [str(folder / name) for name in ("compare.txt", "compare.json", "compare.png")]
    Comparison.model_validate(facts)
    text = (folder / "compare.txt").read_text()
    assert "scope@16" in text
    assert max(map(len, text.splitlines())) <= 80


def test_many_methods_and_photographs_find_room(
    fake: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = ",".join(f"random@{keep}" for keep in range(1, 9))  # eight methods: four beside each other, twice
    names = ("demo:coffee", "demo:rocket", "demo:chelsea")
    args = ("compare", *names, *TOWER, "--specs", specs, "--repeats", 1)
    sizes = []
    for most in (24, 4):
        monkeypatch.setattr("scope_bench.compare.figure.DOWN", most)
        assert fake(*args, "--out", tmp_path / "many.webp").code == 0
        with Image.open(tmp_path / "many.webp") as page:
            assert page.format == "WEBP"
            assert page.width == 5 * SIDE + 4 * 22 + 2 * MARGIN
            sizes.append(page.height)
    assert 2 * SIDE <= sizes[0] - sizes[1] < 3 * SIDE  # one photograph less, in both runs of methods
    result = Comparison.model_validate(fake(*args, "--json").json)
    assert "shown: the first 2 of 3 images; means are over all" in footnotes(result, 2)
    assert not any("shown" in line for line in footnotes(result, 3))


def test_tokens_without_positions_have_numbers_but_no_picture(fake: Callable[..., Ran], tmp_path: Path) -> None:
    args = ("compare", "demo:coffee", "--tower", "fake-no-grid", "--specs", "scope@9,random@9")
    facts = fake(*args, "--json").json
    assert facts["photographs"][0]["grid"] is None
    ran = fake(*args, "--out", tmp_path / "compared.png")
    assert ran.code == 3
    assert "no grid positions" in ran.stderr
    assert "scope@9" in ran.words  # the table is not lost


@pytest.mark.tower
def test_the_real_tower(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    entry = scope.default_registry().get("zoo", "dinov2-small").item
    if not entry.is_cached():
        pytest.skip("the dinov2-small tower is not in the cache: run `scope models fetch dinov2-small`")
    specs = "scope@64,top_k_attention@64,random@64"
    ran = scope_("compare", "demo:astronaut", "demo:coffee", "--specs", specs, "--out", tmp_path / "made", "--json")
    assert ran.code == 0
    ours, attention, chance = ran.json["methods"]
    assert ours["theta_coverage"]["0.8"]["mean"] > 2 * attention["theta_coverage"]["0.8"]["mean"]
    assert attention["saliency_share"]["mean"] > ours["saliency_share"]["mean"] > 2 * chance["saliency_share"]["mean"]
    assert ran.json["overlap"][0][1]["mean"] > 2 * ran.json["overlap"][0][2]["mean"]

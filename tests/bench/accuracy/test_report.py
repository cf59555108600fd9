"""Results from replies that are made up, so that every number can be counted by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import scope_core as scope
from bench import tiny
from scope_bench.accuracy.examples import Scene
from scope_bench.accuracy.methods import BLIND, FULL, ORACLE, SHUFFLED, Method
from scope_bench.accuracy.plot import BOUND, draw, plot
from scope_bench.accuracy.report import results_of
from scope_bench.accuracy.runner import THETAS, Run, Settings
from scope_bench.accuracy.tables import WIDTH, Table, signed, tables

SCENES = 40


def made_up(chances: dict[str, list[int]], keeps: tuple[int, ...] = (64,), questions: int = 4) -> Run:
    """A run in which method ``name`` answers the first ``chances[name][k % len]`` questions of scene k right."""
    task = tiny.Squares(tiny.SquareSpec(questions=questions))
    scenes = [Scene(task.example(k, 0)) for k in range(SCENES)]
    registry = tiny.registry()
    methods: list[Method] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, counts in chances.items():
        bound = name in (FULL, SHUFFLED, BLIND, ORACLE)
        role = "bound" if bound else "control" if name == "random" else "spec"
        for keep in (None,) if bound and name != ORACLE else keeps:
            pruner = (
                None if bound else scope.Pruner(name if name == "random" else "scope", registry=registry, budget=keep)
            )
            one = Method(name, keep, pruner, role)
            methods.append(one)
            rows[one.label] = [
                {
                    "example": scene.example.id,
                    "replies": [
                        {
                            "id": q.id,
                            "reply": "2" if k < counts[n % len(counts)] else "1",
                            "correct": k < counts[n % len(counts)],
                        }
                        for k, q in enumerate(scene.example.questions)
                    ],
                    "kept": keep,
                    "coverage": [0.5] * len(THETAS) if keep else None,
                    "objects": [True, n % 2 == 0] if keep else None,
                    "select_ms": float(n) if keep else None,
                }
                for n, scene in enumerate(scenes)
            ]
    return Run("tiny", task, Settings("test"), scenes, methods, rows)


def found(results: dict[str, Any], name: str, keep: int | None = 64) -> dict[str, Any]:
    return next(run for run in results["runs"] if (run["name"], run["keep"]) == (name, keep))


RUN = {"good": [4, 3], "same": [3, 4], "bad": [1, 2], "random": [2], ORACLE: [4], FULL: [4, 4, 4, 3], BLIND: [0]}


def test_accuracy_by_kind_size_and_share_of_full() -> None:
    results = results_of(made_up(RUN))
    good = found(results, "good")
    assert good["accuracy"] == pytest.approx(7 / 8)
    assert good["kinds"]["one"]["accuracy"] == 1.0  # the first and third question
    assert good["kinds"]["two"]["accuracy"] == pytest.approx(0.75)  # the second and fourth
    assert good["sizes"] == {"< 40 px": good["kinds"]["one"], "40-80 px": good["kinds"]["two"]}
    assert good["of_full"]["share"] == pytest.approx((7 / 8) / (15 / 16))
    assert found(results, FULL, None)["accuracy"] == pytest.approx(15 / 16)
    assert found(results, BLIND, None)["interval"] == (0.0, 0.0)
    assert found(results, "bad")["objects"] == pytest.approx(0.75)
    assert found(results, "bad")["select_ms"] == pytest.approx(19.5)
    assert found(results, "bad")["coverage"] == {str(theta): 0.5 for theta in THETAS}
    assert (results["questions"], results["examples"], results["groups"]) == (160, 40, 20)


def test_wins_ties_and_losses_are_counted_by_group() -> None:
    """Scenes come in pairs here: good wins each pair by 7 to 4, and ties with same though single scenes differ."""
    results = results_of(made_up(RUN))
    pairs = results["pairs"]["64"]
    won = pairs["good"]["random"]
    assert (won["wins"], won["ties"], won["losses"]) == (20, 0, 0)
    assert won["difference"] == pytest.approx(3 / 8)
    assert won["p"] == pytest.approx(2 / 2**20)
    assert won["separated"]
    tied = pairs["good"]["same"]
    assert (tied["wins"], tied["ties"], tied["losses"], tied["p"], tied["separated"]) == (0, 20, 0, 1.0, False)
    lost = pairs["random"]["good"]
    assert (lost["wins"], lost["losses"], lost["difference"]) == (0, 20, pytest.approx(-3 / 8))
    assert lost["interval"] == pytest.approx((-won["interval"][1], -won["interval"][0]))
    assert results["ranking"]["64"] == [["good", "same"], ["random"], ["bad"]]


def test_of_a_few_groups_nobody_is_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.accuracy.test_report.SCENES", 38)  # 19 pairs
    results = results_of(made_up(RUN))
    assert len(results["ranking"]["64"]) == 1
    assert not results["pairs"]["64"]["good"]["bad"]["separated"]
    assert "19 groups of images are too few" in " ".join(tables(results)[0].text().split())


def test_a_model_that_knows_nothing() -> None:
    results = results_of(made_up({"good": [0], FULL: [0], BLIND: [0]}))
    assert found(results, "good")["of_full"] is None
    json.dumps(results, allow_nan=False)


def test_one_method_alone_is_ranked() -> None:
    assert results_of(made_up({"good": [1]}))["ranking"] == {"64": [["good"]]}


def test_results_are_plain_data() -> None:
    results = results_of(made_up(RUN, (64, 16)))
    assert json.loads(json.dumps(results, allow_nan=False))["budgets"] == [64, 16]
    assert results["controls"] == ["random"]
    assert results["specs"]["random"]["budget"]["keep"] == 16 or results["specs"]["random"]["budget"]["keep"] == 64


def test_tables_fit_a_terminal_and_say_what_is_not_separated() -> None:
    long = {f"a_rather_long_name_{k}": [k] for k in range(3)}
    results = results_of(made_up({**RUN, **long}, (192, 128, 64, 32, 16)))
    made = tables(results)
    for table in made:
        too_wide = [line for line in table.text().splitlines() if len(line) > WIDTH]
        assert not too_wide, too_wide
    first = made[0].text()
    assert "87.5±" in first
    line = next(line for line in first.splitlines() if line.startswith("good"))
    other = next(line for line in first.splitlines() if line.startswith("same"))
    assert line.split()[2::2] == other.split()[2::2] == ["a"] * 5
    assert [table.title for table in made if table.title.startswith("Against")] == [
        f"Against the controls at {keep} tokens, points" for keep in (192, 128, 64, 32, 16)
    ]


def test_without_controls_there_is_nothing_to_compare_with() -> None:
    results = results_of(made_up({"good": [2], FULL: [4]}))
    assert not [table for table in tables(results) if table.title.startswith("Against")]


def test_many_kinds_are_told_in_several_tables() -> None:
    results = results_of(made_up(RUN))
    for run in results["runs"]:
        run["kinds"] = {f"a longish kind {k}": run["kinds"]["one"] for k in range(12)}
    results["kinds"] = list(results["runs"][0]["kinds"])
    parts = [table for table in tables(results) if table.title.startswith("By kind")]
    assert len(parts) > 1
    assert [name for part in parts for name in part.columns[1:]] == results["kinds"]
    assert all(part.rows[-1] == ("(questions)", *["80"] * (len(part.columns) - 1)) for part in parts)
    assert all(len(line) <= WIDTH for part in parts for line in part.text().splitlines())


def test_markdown() -> None:
    table = Table("What", ("name", "x"), (("a", "1"), ("b", "22")), "Note.")
    assert table.markdown() == "**What**\n\n| name | x |\n| --- | ---: |\n| a | 1 |\n| b | 22 |\n\nNote."
    assert table.text().splitlines()[2:] == ["name   x", "----  --", "a      1", "b     22", "", "Note."]


def test_a_long_name_is_broken_rather_than_cut_or_too_wide() -> None:
    name = "a strategy with a name that is much longer than any terminal has room for beside numbers"
    table = Table("What", ("strategy", "x", "y"), ((name, "1", "2"), ("b", "22", "33")))
    lines = table.text().splitlines()
    assert max(map(len, lines)) <= WIDTH
    head, *rest = [line for line in lines if line not in ("What", "") and not line.startswith(("b ", "-", "strategy"))]
    assert head.split()[-2:] == ["1", "2"]
    assert " ".join([head.removesuffix("1   2").strip(), *(line.strip() for line in rest)]) == name


@pytest.mark.parametrize(
    ("value", "text"), [(3.21, "+3.2"), (-0.4, "-0.4"), (0.0, "0.0"), (-0.04, "0.0"), (0.04, "0.0"), (-0.06, "-0.1")]
)
def test_what_rounds_to_zero_has_no_sign(value: float, text: str) -> None:
    assert signed(value) == text


def test_separated_is_explained_where_the_interval_says_otherwise() -> None:
    table = next(table for table in tables(results_of(made_up(RUN))) if table.title.startswith("Against"))
    assert "separated: after correction for comparing all pairs" in table.note
    assert "interval: 95%" in table.note


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(results_of(made_up(RUN, (64, 16))), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert min(image.size) > 400
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50


def lines_of(figure: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}


def test_every_strategy_has_a_line_and_a_colour_of_its_own() -> None:
    colors = pytest.importorskip("matplotlib.colors")
    names = [f"strategy {number}" for number in range(14)]
    made = {name: [number % 4] for number, name in enumerate(names)}
    results = results_of(made_up({**made, "random": [1], FULL: [4], ORACLE: [4]}, (64, 16)))
    lines = lines_of(draw(results, colours={"strategy 3": "#123456"}, without=["strategy 5"]))
    assert set(lines) == {*names, "random", ORACLE} - {"strategy 5"}
    painted = {name: colors.to_hex(line.get_color()) for name, line in lines.items()}
    assert len(set(painted.values())) == len(lines)
    assert painted["strategy 3"] == "#123456"
    assert painted[ORACLE] == colors.to_hex(BOUND)
    assert (lines[ORACLE].get_linestyle(), lines["random"].get_linestyle()) == ("--", ":")


def test_the_plot_says_what_its_marks_mean() -> None:
    pytest.importorskip("matplotlib")
    figure = draw(results_of(made_up(RUN, (64, 16))))
    title = figure.axes[0].get_title()
    assert "bands: 95% intervals" in title
    assert "dotted lines: controls; dashed lines: bounds" in title
    assert not figure.axes[0].get_legend()  # it stands outside
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(lines_of(figure))


def test_names_of_levels_touch_neither_lines_nor_frame_nor_each_other() -> None:
    pytest.importorskip("matplotlib")
    figure = draw(results_of(made_up({"good": [2], FULL: [4], SHUFFLED: [0], BLIND: [0]}, (64, 16))))
    figure.canvas.draw()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [BLIND, SHUFFLED, FULL]
    first = axes.transData.transform((16, 0))[0]
    frame = axes.get_window_extent()
    for box in boxes:
        assert box.x1 < first
        assert frame.x0 < box.x0
        assert frame.y0 < box.y0
        assert box.y1 < frame.y1
    for below, above in itertools.pairwise(boxes):
        assert below.y1 < above.y0

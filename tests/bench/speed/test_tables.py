"""Tables and pictures of `scope bench speed`: what is shown, left out, explained; on made-up times and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import scope_core as scope
from bench import tiny
from scope_bench.speed import capture, generate, growth, inputs, machine, plot, select, timing
from scope_bench.speed.of_models import made_of
from scope_bench.speed.probes import Watched
from scope_bench.speed.rows import number
from scope_bench.speed.tables import fitted, head, tables

CPU = torch.device("cpu")
EFFORT = timing.Effort(rounds=3, seconds=1.0, least=1)
SETTINGS = select.Settings("wall", EFFORT, CPU, libraries=False)


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched.of(tiny.loaded(), scope.default_registry(), [tiny.picture(0, 0)], "what is it?")


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median, "high": median, "best": median}


def timed(name: str, role: str, median: float, **more: float) -> dict:
    ratios = {"of_floor": median / 2.0, "faster_than_loop": None, "engine_is_faster": None, "same_picks": None}
    return {"name": name, "role": role, "wall_ms": spread(median), **ratios, **more}


def selecting_report(*cases: list[dict]) -> dict:
    facts = {"processor": "P", "cores": 2, "load": 1.97, "device": "cpu", "accelerator": None, "threads": 1}
    made = [{"tokens": 576, "keep": 16, "width": 8, "rows": rows} for rows in cases]
    versions = {"python": "3", "numba": "1"}
    return {"clock": "wall", "allocator": "warm", "machine": {**facts, "versions": versions}, "select": made}


def test_columns_without_anything_are_left_out_with_their_legends() -> None:
    alone = [timed(select.FLOOR, "floor", 2.0), timed("scope", "spec", 3.0)]
    (table,) = tables(selecting_report(alone))
    assert table.columns == ("", "ms", "quartiles", "of ref")
    assert table.rows[1] == ("scope", "3.00", "3.00-3.00", "1.50x")
    assert table.note.startswith("of ref: time over that of the reference")
    assert not any(name in table.note for name in ("loop", "library", "same"))
    peer = timed("acme lazy", "peer", 9.0, engine_is_faster=4.5, same_picks=3)
    (table,) = tables(selecting_report([*alone, peer]))
    assert table.columns[3:] == ("of ref", "vs library", "same")
    assert "settles ties its own way" in table.note
    assert "loop" not in table.note
    assert "matrix given" not in table.note.partition("vs library")[0]
    (table,) = tables(selecting_report([*alone, timed("scope, matrix given", "engine", 1.0)]))
    assert "matrix given: the engine, greedy by coverage alone on a ready matrix, without saliency" in table.note
    loop = timed(select.LOOP, "loop", 9.0, faster_than_loop=1.0)
    (table,) = tables(selecting_report([*alone, loop, peer]))
    assert table.columns[3:] == ("of ref", "vs loop", "vs library", "same")
    assert "plain loop (libraries: with the engine)" in table.note


INSIDE = {"recipe": "scope", "saliency": "uniform", "at": "decoder[1]", "budget": 4}


def test_hooks_between_layers_have_a_column_and_are_taken_away(watched: Watched, tmp_path: Path) -> None:
    path = tmp_path / "inside.yaml"
    path.write_text(json.dumps(INSIDE))
    before = [dict(module._forward_pre_hooks) for module in watched.model.modules()]
    run = generate.generate(watched, [(str(path), 4)], scope.default_registry(), EFFORT, steps=False)
    assert [dict(module._forward_pre_hooks) for module in watched.model.modules()] == before
    row = run["rows"][1]
    assert 0 < row["hooks_share"] < 1
    report = {"clock": "wall", "allocator": "warm", "machine": machine.machine(CPU)}
    parts = tables({**report, "generate": run})[1]
    assert {"hooks", "inside"} <= set(parts.columns)
    assert "hooks: what hooks" in parts.note


def test_further_tokens_that_nobody_timed_have_no_column(watched: Watched) -> None:
    report = {"clock": "wall", "allocator": "warm", "machine": machine.machine(CPU)}
    for steps in (True, False):
        run = generate.generate(watched, [("scope", 4)], scope.default_registry(), EFFORT, steps=steps)
        first, parts = tables({**report, "generate": run})
        assert ("step ms" in first.columns) == ("step ms" in first.note) == steps
        assert parts.columns[1:] == ("tower", "project", "pack", "select", "LLM", "own", "of LLM")


def test_parts_of_every_call_add_up_to_it(watched: Watched) -> None:
    told = [generate._whole(watched, 1)]
    told += [generate._pruned(watched, scope.Pruner(spec), 1) for spec in ("scope@4", INSIDE)]
    assert [one.get("hooks", 0) > 0 for one in told] == [False, False, True]
    for one in told:
        names = ("tower", "projector", "pack", "select", "hooks", "llm", "own")
        assert sum(one.get(name, 0.0) for name in names) == pytest.approx(one["whole"])
        assert all(one.get(name, 0.0) >= 0 for name in names)


def test_parts_that_a_call_does_not_have_are_none() -> None:
    whole = {"tower_ms": spread(4.0), "projector_ms": spread(1.0), "pack_ms": None, "llm_ms": spread(20.0)}
    assert made_of(whole) == {
        "tower": 4,
        "project": 1,
        "pack": None,
        "select": None,
        "hooks": None,
        "LLM": 20,
        "own": None,
    }
    pruned = {**whole, "pack_ms": spread(0.5), "select_ms": spread(2.0), "own_ms": spread(0.1)}
    assert made_of(pruned) == {"tower": 4, "project": 1, "pack": 0.5, "select": 2, "hooks": None, "LLM": 20, "own": 0.1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1007.4, "1007"),
        (12.34, "12.3"),
        (1.0, "1.00"),
        (0.61, "0.61"),
        (0.046, "0.046"),
        (0.00456, "0.0046"),
        (0, "0.00"),
        (-0.25, "-0.25"),
        (0.00001, "0.000010"),
    ],
)
def test_numbers_have_two_digits_at_least_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


def test_growth_is_fitted_to_the_larger_half_too() -> None:
    sizes = [100, 200, 400, 800]
    times = [50.0, 50.0, 160.0, 640.0]
    assert growth.larger(sizes, times) == {"from": 400, "exponent": pytest.approx(2)}
    assert growth.larger([100, 200], [1.0, 2.0]) is None
    curve = {"points": [{"tokens": n, "wall_ms": spread(t)} for n, t in zip(sizes, times, strict=True)]}
    overall = growth.exponent(sizes, times)
    assert overall is not None
    assert overall < 1.5
    assert fitted(curve, "tokens", "wall") == f"over all: N^{overall:.2f}; from N = 400: N^2.00"


def test_of_one_size_nothing_is_fitted() -> None:
    grown = growth.grow(inputs.smooth(40, 8), [20, 40], [4], "scope", scope.default_registry(), SETTINGS)
    over, budget = tables({**selecting_report(), "growth": grown})
    assert over.note.startswith("Fitted to time, over all: N^")
    assert "Fitted to the matrix alone, over all: N^" in over.note
    assert budget.note == ""


def test_heads_are_in_plain_words_and_say_what_lacks() -> None:
    report = selecting_report()
    assert head(report).splitlines() == [
        "P, 2 cores (load average when it began: 2.0); torch with 1 thread on cpu; wall time; freed memory is kept "
        "(--allocator warm)",
        "python 3, numba 1",
    ]
    del report["machine"]["versions"]["numba"]
    assert head(report).endswith("python 3, without numba")
    report["machine"]["device"] = "cuda"
    assert head(report).endswith("python 3")


def test_bars_begin_at_zero_and_what_is_far_is_written() -> None:
    colors = pytest.importorskip("matplotlib.colors")
    floor, own = timed(select.FLOOR, "floor", 2.0), timed("scope", "spec", 3.0)
    loop, peer = timed(select.LOOP, "loop", 30.0), timed("acme lazy", "peer", 1007.0)
    figure = plot.draw(selecting_report([floor, own, peer], [floor, loop, own]))
    first, second = figure.axes
    assert first.get_xscale() == "linear"
    assert first.get_xlim() == second.get_xlim() == (0, pytest.approx(1.12 * 30))
    assert [label.get_text() for label in first.get_yticklabels()] == [select.FLOOR, "scope"]
    assert "too long to draw: acme lazy: 1007 ms" in first.get_xlabel()
    assert "too long" not in second.get_xlabel()
    assert [text.get_text() for text in second.texts] == ["2.00", "30.0", "3.00"]
    hues = [colors.to_hex(bar.get_facecolor()) for bar in second.patches]
    assert hues[0] == hues[1] != hues[2]
    slow = timed("slow.yaml", "spec", 2000.0)  # the user's own is drawn, however long it takes
    (axes,) = plot.draw(selecting_report([floor, slow, peer])).axes
    assert len(axes.patches) == 3


def test_labels_of_the_plot_are_whole(watched: Watched) -> None:
    pytest.importorskip("matplotlib")
    found = capture.capture(watched, ["scope"], scope.default_registry(), EFFORT, "wall")
    (axes,) = plot.draw({**selecting_report(), "capture": found}).axes
    shown = [" ".join(label.get_text().split()) for label in axes.get_yticklabels()]
    assert shown == [row["name"] for row in found["rows"]]
    assert max(len(line) for label in axes.get_yticklabels() for line in label.get_text().splitlines()) <= 30


def test_the_legend_of_the_first_token_covers_no_bar(watched: Watched) -> None:
    pytest.importorskip("matplotlib")
    made = generate.generate(watched, [("scope", 4)], scope.default_registry(), EFFORT, steps=False)
    figure = plot.draw({**selecting_report(), "generate": made})
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_growth_has_one_range_of_times_in_plain_numbers() -> None:
    pytest.importorskip("matplotlib")
    grown = growth.grow(inputs.smooth(40, 8), [10, 20, 40], [4, 8], "scope", scope.default_registry(), SETTINGS)
    figure = plot.draw({**selecting_report(), "growth": grown})
    figure.canvas.draw()
    over, budget = figure.axes
    assert over.get_ylim() == budget.get_ylim()
    assert (over.get_title(), budget.get_title()) == ("time over N (K = 4)", "time over K (N = 40)")
    assert over.get_ylabel() == "wall time, ms"
    assert [label.get_text() for label in over.get_xticklabels()] == ["10", "20", "40"]
    ticks = [label.get_text() for label in over.get_yticklabels() if label.get_text()]
    assert ticks
    assert all(f"{float(text):g}" == text for text in ticks)
    assert "over all: N^" in over.get_legend().get_texts()[0].get_text()

"""What `scope bench speed` computes, on tiny sizes. Nothing here compares a time with anything."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import scope_core as scope
from bench import tiny
from scope_bench.speed import baselines, capture, generate, growth, inputs, machine, plot, select, timing
from scope_bench.speed.probes import Watched
from scope_bench.speed.tables import head, markdown, tables
from scope_core.adapters import Declaration

CPU = torch.device("cpu")
EFFORT = timing.Effort(rounds=3, seconds=1.0, least=1)
SETTINGS = select.Settings("wall", EFFORT, CPU, libraries=False)


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched.of(tiny.loaded(), scope.default_registry(), [tiny.picture(0, 0)], "what is it?")


def brute_force(features: torch.Tensor, saliency: torch.Tensor, keep: int) -> list[int]:
    """Greedy on sums of maxima in float64, each set's value from scratch."""
    unit = features.double() / features.double().norm(dim=1, keepdim=True)
    similarity = (unit @ unit.T).clamp(min=0)
    picks: list[int] = []

    def value(chosen: list[int]) -> float:
        return float(similarity[:, chosen].amax(1).sum()) if chosen else 0.0

    for _ in range(keep):
        left = [j for j in range(len(features)) if j not in picks]
        picks.append(max(left, key=lambda j: (value([*picks, j]) - value(picks)) * float(saliency[j])))
    return picks


def test_the_plain_loop_is_the_formula() -> None:
    made = inputs.smooth(40, 8)
    picks = baselines.plain_loop(made.features, made.saliency, 9)
    assert picks.tolist() == brute_force(made.features, made.saliency, 9)


def test_coverage_of_picks_by_hand() -> None:
    features = torch.tensor([[2.0, 0.0], [3.0, 4.0], [-1.0, 0.0]])  # cosines 0.6, -1 and -0.6
    assert baselines.coverage_of(features, torch.tensor([0])) == pytest.approx(1.6)  # 1 + 0.6 + max(0, -1)
    assert baselines.coverage_of(features, torch.tensor([0, 2])) == pytest.approx(2.6)


def test_everybody_has_turns_and_whoever_is_slow_sits_out() -> None:
    seen: list[str] = []

    def slow() -> None:
        seen.append("slow")
        torch.randn(300, 300) @ torch.randn(300, 300)

    laps = timing.in_turns({"slow": slow, "fast": lambda: seen.append("fast")}, timing.Effort(6, 0.0, 2), CPU)
    assert [len(laps[name].wall) for name in ("slow", "fast")] == [2, 2]
    assert seen[:2] == ["slow", "fast"]  # untimed
    assert seen[2:] == ["slow", "fast", "fast", "slow"]  # each turn begins with another one


def test_spread_is_of_quartiles() -> None:
    assert timing.spread([4.0, 1.0, 2.0, 3.0, 100.0]) == {"median": 3.0, "low": 2.0, "high": 4.0, "best": 1.0}
    assert timing.spread([7.0]) == {"median": 7.0, "low": 7.0, "high": 7.0, "best": 7.0}


def test_threads_and_collector_are_as_they_were() -> None:
    import gc

    before = torch.get_num_threads()
    with timing.threads(before + 1), timing.quiet():
        assert torch.get_num_threads() == before + 1
        assert not gc.isenabled()
    assert torch.get_num_threads() == before
    assert gc.isenabled()


def test_selecting_reports_ratios_of_medians() -> None:
    sizes = select.cases([30, 50], [4, 40])
    assert sizes == [(30, 4), (50, 4), (50, 40)]
    steps: list[tuple[int, int]] = []
    found = select.select(
        inputs.smooth(50, 8), sizes, ["scope", "divprune"], scope.default_registry(), SETTINGS,
        lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert [(case["tokens"], case["keep"], case["width"]) for case in found] == [(30, 4, 8), (50, 4, 8), (50, 40, 8)]
    assert steps[-1] == (9, 9)
    for case in found:
        rows = {row["name"]: row for row in case["rows"]}
        assert set(rows) == {select.FLOOR, select.LOOP, "scope", "divprune"}
        medians = {name: row["wall_ms"]["median"] for name, row in rows.items()}
        for name, row in rows.items():
            assert row["of_floor"] == medians[name] / medians[select.FLOOR]
            assert row["faster_than_loop"] == medians[select.LOOP] / medians[name]
            assert set(row["wall_ms"]) == set(row["cpu_ms"]) == {"median", "low", "high", "best"}
        assert rows["scope"]["same_picks"] == case["keep"]  # the loop is what the recipe computes
        assert rows["scope"]["coverage"] == pytest.approx(rows[select.LOOP]["coverage"])


def test_libraries_meet_the_engine_on_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def library(similarity: torch.Tensor, keep: int) -> list[int]:
        seen.append(similarity)
        return brute_force(similarity, torch.ones(len(similarity)), 1) + list(range(1, keep))

    monkeypatch.setattr(baselines, "libraries", lambda: {"acme": library})
    settings = select.Settings("cpu", EFFORT, CPU, loop=False)
    (case,) = select.select(inputs.smooth(30, 8), [(30, 4)], ["scope"], scope.default_registry(), settings)
    rows = {row["name"]: row for row in case["rows"]}
    ours, theirs = rows["scope, matrix given"], rows["acme lazy, matrix given"]
    assert theirs["engine_is_faster"] == theirs["cpu_ms"]["median"] / ours["cpu_ms"]["median"]
    assert ours["coverage"] >= theirs["coverage"]
    assert torch.equal(seen[0], seen[0].T)
    assert bool((seen[0] >= 0).all())
    assert rows["scope"]["faster_than_loop"] is None


def test_the_engine_alone_is_greedy_on_the_matrix() -> None:
    made = inputs.smooth(40, 8)
    pruner = scope.Pruner("scope@9")
    picks = select.on_matrix(pruner, made.features[None], baselines.cosine(made.features), 9)
    assert picks.tolist() == brute_force(made.features, torch.ones(40), 9)


def test_growth_fits_powers() -> None:
    assert growth.exponent([10, 20, 40], [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert growth.exponent([10, 20, 40], [5.0, 5.0, 5.0]) == pytest.approx(0)
    assert growth.exponent([10], [5.0]) is None
    found = growth.grow(inputs.smooth(40, 8), [10, 20, 40], [4, 8], "scope", scope.default_registry(), SETTINGS)
    assert [point["tokens"] for point in found["over_tokens"]["points"]] == [10, 20, 40]
    assert [point["keep"] for point in found["over_keep"]["points"]] == [4, 8]
    assert math.isfinite(found["over_tokens"]["exponent"])


def test_budgets_that_no_size_can_meet() -> None:
    with pytest.raises(scope.BudgetError, match="cannot keep 60 of 50 tokens"):
        select.cases([30, 50], [60])


def test_too_large_a_size_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(
        scope.TaskError, match=r"N = 10000000, 4 matrices .* needs about 1490116\.1 GiB.*lower --tokens"
    ):
        select.check_size(10_000_000, SETTINGS)


def test_only_matrices_that_will_be_made_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_bench.speed.machine.free_memory", lambda device: 10**9)  # a matrix takes 1.6e9
    alone = replace(SETTINGS, loop=False)
    for settings, count in ((SETTINGS, 4), (replace(alone, libraries=True), 4), (alone, 1)):
        with pytest.raises(
            scope.TaskError, match=f"N = 20000, {count} matri.*--no-loop, --no-libraries and --no-reference"
        ):
            select.check_size(20_000, settings)
    nobody = replace(alone, reference=False)
    select.check_size(20_000, nobody, [scope.Pruner("scope@64"), scope.Pruner("top_k_attention@64")])
    with pytest.raises(scope.TaskError, match=r"N = 20000, scope.coverage=log_det@64, needs about 4.5 GiB"):
        select.check_size(20_000, nobody, [scope.Pruner("scope@64", coverage="log_det")])


def test_without_the_reference_no_matrix_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "cosine", None)  # it would be an error of another kind
    settings = replace(SETTINGS, loop=False, reference=False)
    registry, smooth = scope.default_registry(), inputs.smooth(30, 8)
    (case,) = select.select(smooth, [(30, 4)], ["scope"], registry, settings)
    (row,) = case["rows"]
    assert (row["name"], row["of_floor"]) == ("scope", None)
    unit = torch.nn.functional.normalize(smooth.cut(30, CPU, torch.float32)[0][0].double(), dim=-1)
    saliency = smooth.cut(30, CPU, torch.float32)[1]
    picks = scope.select(smooth.cut(30, CPU, torch.float32)[0], saliency=saliency, spec="scope@4").picks[0]
    assert row["coverage"] == pytest.approx(float((unit @ unit.T)[:, picks].amax(1).clamp(min=0).sum()))
    grown = growth.grow(smooth, [10, 30], [4], "scope", registry, settings)
    assert grown["floor"] is None
    shown = tables({"clock": "wall", "select": [case], "growth": grown})
    assert [table.columns for table in shown[:2]] == [("", "ms", "quartiles"), ("N", "ms")]
    assert "ref" not in shown[0].note
    assert "matrix" not in shown[1].note


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(scope.TaskError, match="device 'nothing' cannot be used here"):
        select.check_device("nothing")


def test_material_of_photographs_goes_on_with_crops() -> None:
    class Tower:
        def __init__(self) -> None:
            self.sizes: list[tuple[int, int]] = []
            self.declaration = Declaration("tower", {"vision": "x"}, ())

        def encode(self, images: list, *, at: str, needs: frozenset[str]) -> scope.VisualTokens:
            self.sizes += [image.size for image in images]
            return scope.VisualTokens.of(torch.ones(1, 16, 4) * len(self.sizes))

    tower = Tower()
    made = inputs.of_photographs([tiny.picture(0, 0)], tower, 40, "acme")
    assert tower.sizes == [(28, 28), (14, 14), (14, 14)]
    features, saliency = made.cut(33, CPU, torch.float64)
    assert (features.shape, saliency.shape, features.dtype) == ((1, 33, 4), (1, 33), torch.float64)
    assert float(saliency.max()) == 1
    with pytest.raises(scope.TokensError, match="give 48 tokens, but 49 are needed"):
        made.cut(49, CPU, torch.float32)


def test_capture_tells_tower_and_reading_apart(watched: Watched) -> None:
    found = capture.capture(watched, ["scope", "fastv"], scope.default_registry(), EFFORT, "wall")
    rows = {row["name"]: row for row in found["rows"]}
    reading = "scope reads vision.cls_attention[-2]"
    assert set(rows) == {capture.PLAIN, capture.NOTHING, reading, capture.EAGER}  # fastv reads no tower
    plain, read = rows[capture.PLAIN], rows[reading]
    whole = read["tower_ms"]["median"] + read["read_ms"]["median"]
    assert read["of_plain"] == whole / plain["tower_ms"]["median"]
    assert read["captured"] == read["read_ms"]["median"] / plain["tower_ms"]["median"]
    assert plain["captured"] is None


def test_generating_tells_what_a_call_is_made_of(watched: Watched) -> None:
    found = generate.generate(watched, [("scope", 8), ("scope", 4)], scope.default_registry(), EFFORT)
    whole, *pruned = found["rows"]
    assert [row["name"] for row in found["rows"]] == ["unpruned", "scope@8", "scope@4"]
    length = watched.inputs["input_ids"].shape[1]
    assert [row["prompt"] for row in found["rows"]] == [length, length - 8, length - 12]
    per_position = whole["kv_bytes"] / length
    for row in pruned:
        assert row["kv_bytes"] == per_position * row["prompt"]
        assert row["reached"] == row["ideal_ms"] / row["first_ms"]["median"]
        assert row["speedup"] / row["ideal_speedup"] == pytest.approx(row["reached"])
        assert row["own_share"] == row["own_ms"]["median"] / row["generate_ms"]["median"]
        assert 0 < row["own_ms"]["best"] < row["first_ms"]["high"]


def test_a_stage_inside_is_idealised_layer_by_layer(watched: Watched) -> None:
    spec = {"recipe": "scope", "saliency": "uniform", "budget": 12, "at": "vision"}
    pruner = scope.Pruner({**spec, "then": [{"at": "decoder[1]", "budget": 4}]})
    length, layers = watched.inputs["input_ids"].shape[1], watched.declaration.decoder_layers
    with pruner.attach(watched.model) as pruning:
        watched.call(1)
        lengths = generate._lengths(pruning, watched)
    assert lengths == [(1 / layers, length - 4), ((layers - 1) / layers, length - 12)]
    assert sum(share for share, _ in lengths) == 1


def test_a_model_is_left_as_it_was(watched: Watched) -> None:
    before = dict(vars(watched.model)), dict(vars(watched.model.base_model))
    with watched.watching():
        watched.call(1)
    assert set(watched.spent) == {"tower", "projector", "features", "generate"}
    assert (dict(vars(watched.model)), dict(vars(watched.model.base_model))) == before
    assert not watched.module("tower")._forward_hooks


def test_tables_plot_and_json(watched: Watched, tmp_path: Path) -> None:
    registry, smooth = scope.default_registry(), inputs.smooth(30, 8)
    report = {
        "clock": "wall",
        "allocator": "warm",
        "machine": machine.machine(CPU),
        "select": select.select(smooth, [(30, 4)], ["scope"], registry, SETTINGS),
        "growth": growth.grow(smooth, [10, 30], [4, 8], "scope", registry, SETTINGS),
        "capture": capture.capture(watched, ["scope"], registry, EFFORT, "wall"),
        "generate": generate.generate(watched, [("scope", 4)], registry, EFFORT, steps=False),
    }
    made = tables(report)
    assert len(made) == 1 + 2 + 1 + 2
    assert all(len(line) <= 80 for table in made for line in table.text().splitlines())
    assert json.loads(json.dumps(report))["select"][0]["keep"] == 4
    threads = torch.get_num_threads()
    assert f"; torch with {threads} thread{'s' * (threads > 1)} on cpu; wall time; freed memory is kept" in head(report)
    assert "| scope@4 |" in markdown(report, made)
    plot.plot(report, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")

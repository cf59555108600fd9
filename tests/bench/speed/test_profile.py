"""The stages of `scope bench speed profile`: that they are those of the selection, and add up to it."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from scope_bench.speed import profile, select, timing
from scope_bench.speed.inputs import smooth
from scope_bench.speed.profile import (
    CHECK,
    FIRST,
    GRID,
    MATRIX,
    NORMALISE,
    OPTIMIZER,
    REST,
    ROUNDS,
    SALIENCY,
    SPEC,
    TOKENS,
    WHOLE,
)
from scope_bench.speed.tables import tables

CPU = torch.device("cpu")
MADE_UP = {
    SPEC: 9.0,
    TOKENS: 1.0,
    NORMALISE: 2.0,
    MATRIX: 12.0,
    CHECK: 0.5,
    GRID: 0.25,
    FIRST: 0.75,
    ROUNDS: 4.75,
    OPTIMIZER: 5.0,
    WHOLE: 20.0,
}


def test_stages_that_are_timed_together_are_taken_apart() -> None:
    alone = profile.split(MADE_UP)
    wanted = {MATRIX: 10.0, FIRST: 0.5, ROUNDS: 4.0, OPTIMIZER: 0.25, REST: 1.5, WHOLE: 20.0, SPEC: 9.0}
    assert {stage: alone[stage] for stage in wanted} == pytest.approx(wanted)
    assert sum(alone.values()) - alone[SPEC] - alone[WHOLE] == pytest.approx(alone[WHOLE])


def test_stages_are_those_of_the_selection(registry: scope.Registry) -> None:
    features, saliency = smooth(30, 8).cut(30, CPU, torch.float32)
    pruner = scope.Pruner("scope@7", registry=registry)
    runs, whole = profile.stages(pruner, features, saliency, 7), pruner.select(features, saliency=saliency)
    assert torch.equal(runs[WHOLE]().picks, whole.picks)
    assert torch.equal(runs[OPTIMIZER]().picks, whole.picks)
    assert torch.equal(runs[MATRIX](), runs[CHECK]())
    assert torch.equal(runs[SALIENCY](), saliency)
    if ROUNDS in runs:  # with numba
        assert torch.equal(runs[ROUNDS]().picks, whole.picks)
        assert runs[FIRST]().picks.shape == (1, 0)
        assert runs[GRID]()[1] == pytest.approx(1.0)
    by_loop = {"recipe": "scope", "budget": 7, "optimizer": {"name": "greedy", "path": "loop"}}
    runs = profile.stages(scope.Pruner(by_loop, registry=registry), features, saliency, 7)
    assert not {GRID, FIRST, ROUNDS} & set(runs)
    assert torch.equal(runs[OPTIMIZER]().picks, whole.picks)


def test_methods_without_a_stage_do_not_show_it(registry: scope.Registry) -> None:
    settings = select.Settings("wall", timing.Effort(rounds=1, seconds=1.0, least=1), CPU)
    facts = {"processor": "P", "cores": 2, "load": 1.0, "device": "cpu", "accelerator": None, "threads": 1}
    for spec, stages in (("scope", {MATRIX, OPTIMIZER}), ("top_k_attention", {OPTIMIZER}), ("tome", set())):
        features, saliency = smooth(16, 8).cut(16, CPU, torch.float32)
        runs = profile.stages(scope.Pruner(f"{spec}@4", registry=registry), features, saliency, 4)
        assert {MATRIX, OPTIMIZER} & set(runs) == stages
        assert WHOLE in runs
    found = profile.profile(smooth(16, 8), [(16, 4), (16, 5)], "top_k_attention", registry, settings)
    report = {"clock": "wall", "allocator": "warm", "machine": {**facts, "versions": {}}, "profile": found}
    (table,) = tables(report)
    assert table.columns == ("stage, ms", "K = 4", "K = 5")
    assert "optimizer: " in table.note
    assert "grid" not in table.note


def test_sizes_and_budgets() -> None:
    usual = profile.sizes_of(None, None)
    assert [size for size, _ in usual[::3]] == list(profile.SIZES)
    assert (2880, 960) in usual
    assert profile.sizes_of((9,), None) == [(9, 3), (9, 9)]
    assert profile.sizes_of((9, 20), (12,)) == [(20, 12)]
    with pytest.raises(scope.BudgetError, match="cannot keep 12 of 9"):
        profile.sizes_of((9,), (12,))

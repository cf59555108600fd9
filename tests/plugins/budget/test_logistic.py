"""`logistic`: counts along the curve, by the largest factor that keeps the average."""

from __future__ import annotations

import math

import numpy as np
import oracles_calibrated as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scope_core import BudgetError, Layout, Pruner, VisualTokens
from scope_core.parts import ImageLayout


def schedule(starts: list[int], layers: int, **options: float) -> Pruner:
    spec = {
        "recipe": "random",
        "budget": {"name": "logistic", "layers": layers, **options},
        "at": f"decoder[{starts[0]}]",
        "then": [{"at": f"decoder[{start}]"} for start in starts[1:]],
    }
    return Pruner(spec)


@given(
    full=st.integers(1, 60),
    layers=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    average=st.integers(1, 60),
    slope=st.sampled_from([0.0, 0.3, 1.0, 90.0]),
)
def test_the_largest_factor_that_fits(full: int, layers: list[int], average: int, slope: float) -> None:
    starts, count = np.cumsum(layers)[:-1].tolist(), sum(layers)
    pruner = schedule(starts, count, keep=average, slope=slope, centre=4.0)
    least = -(-(full * layers[0] + sum(layers[1:])) // count)
    if average > full or average < least:
        with pytest.raises(BudgetError, match=f"has {full}|the smallest average is {least},"):
            pruner.plan([full])
        return
    plan = pruner.plan([full])
    counts = [plan.total, *(stage.total for stage in plan.later)]
    assert counts == sorted(counts, reverse=True)
    assert counts == oracle.logistic_counts(full, starts, count, average, slope, 4.0)


def test_what_cannot_be_planned() -> None:
    between = {"at": "decoder[9]", "budget": {"name": "tokens", "keep": 3}}
    behind = {"at": "decoder[20]", "budget": {"name": "logistic", "keep": 64, "layers": 32}}
    with pytest.raises(BudgetError, match="give this budget to every stage"):
        Pruner("autoprune", then=[between, behind]).plan([576])
    with pytest.raises(BudgetError, match=r"`layers: 12`, but a stage is at 'decoder\[20\]'"):
        schedule([3, 20], 12, keep=9).plan([576])


def test_autoprune_averages_its_budget() -> None:
    for keep in (64, 192):
        plan = Pruner(f"autoprune@fixed@{keep}").plan([576])
        counts = [576, plan.total, *(stage.total for stage in plan.later)]
        assert len(counts) == 32
        assert keep - 1 < sum(counts) / 32 <= keep
        share = counts[20] / counts[12]
        assert share == pytest.approx((1 + math.exp(0.4 * (12 - 15.3))) / (1 + math.exp(0.4 * (20 - 15.3))), abs=0.05)


INFORMATION = "decoder.text_information[0]"


def curve_of(bits: float, slope: float = 0.4, fall: float = 0.2) -> float:
    """The slope, in steps of a twentieth."""
    return round(20 * max(slope - fall * bits, 0) / slope) * slope / 20


@pytest.mark.parametrize("bits", [0.0, 0.3, 1.0, 1.99, 2.0, 50.0, -0.1])
def test_a_statistic_flattens_the_curve(bits: float) -> None:
    starts, layers, full, keep = [1, 4, 9], 12, 60, 30
    budget = {"slope": 0.4, "centre": 8.0, "statistic": {"name": "text_information"}, "keep": keep}
    pruner = schedule(starts, layers, **budget)  # type: ignore[arg-type]
    plan = pruner.plan([full])
    bounds = [plan.total, *(stage.total for stage in plan.later)]
    assert not plan.exact
    slope = curve_of(max(bits, 0))
    wanted = oracle.logistic_counts(full, starts, layers, keep, slope, 8.0 - 0.4 + slope)
    every = [
        oracle.logistic_counts(full, starts, layers, keep, 0.4 * step / 20, 8.0 - 0.4 + 0.4 * step / 20)
        for step in range(21)
    ]
    assert bounds == [max(each) for each in zip(*every, strict=True)]
    layout, kept = Layout((ImageLayout((full,)),), 0, tuple(f"decoder[{start}]" for start in starts)), []
    for stage in pruner.stages:
        left = layout.images[0].tokens
        signals = {INFORMATION: torch.tensor([[bits / 2, bits / 2]])}
        selection = stage.prune(VisualTokens.of(torch.ones(1, left, 2), signals=signals), layout)
        kept.append(selection.counts[0])
        layout = layout.after(selection.counts)
    assert kept == wanted


def test_more_information_keeps_more_in_late_layers() -> None:
    found = []
    for bits in (0.0, 1.0, 2.0):
        signals = {INFORMATION: torch.full((1, 1), bits), "decoder.text_attention[1]": torch.rand(1, 2, 3, 576)}
        found.append(Pruner("autoprune@64").select(torch.ones(1, 576, 2), signals=signals).counts[0])
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2]  # the first stage: a flat curve drops more at once, and less later

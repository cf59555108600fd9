"""Budgets: exact counts whatever the groups, and errors that name the image."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import BudgetError, Layout, Pruner

TILES = st.lists(st.lists(st.integers(0, 600), min_size=1, max_size=4), min_size=1, max_size=4)


def counts(budget: Any, tiles: list[list[int]], partition: str = "image") -> tuple[int, ...]:
    return Pruner({"recipe": "scope", "budget": budget, "partition": partition}).plan(Layout.of(tiles)).counts


@given(
    TILES,
    st.integers(0, 700),
    st.sampled_from(["image", "tile", "total"]),
    st.sampled_from(["image", "tile", "prompt"]),
)
def test_tokens_keeps_exactly_that_many_of_every_unit(
    tiles: list[list[int]], keep: int, per: str, partition: str
) -> None:
    budget = {"name": "tokens", "keep": keep, "per": per, "if_short": "keep_all"}
    sizes = {"image": [sum(image) for image in tiles], "tile": [t for image in tiles for t in image]}
    sizes["total"] = [sum(sizes["image"])]
    assert sum(counts(budget, tiles, partition)) == sum(min(keep, size) for size in sizes[per])


@given(
    TILES,
    st.sampled_from(["image", "tile", "total"]),
    st.sampled_from(["image", "tile", "prompt"]),
    st.integers(30, 100),
)
def test_ratio_rounds_every_unit_half_up(tiles: list[list[int]], per: str, partition: str, percent: int) -> None:
    sizes = {"image": [sum(image) for image in tiles], "tile": [t for image in tiles for t in image]}
    sizes["total"] = [sum(sizes["image"])]
    want = [int(Fraction(percent, 100) * size + Fraction(1, 2)) for size in sizes[per]]
    budget = {"name": "ratio", "keep_ratio": percent / 100, "per": per}
    if any(count == 0 < size for count, size in zip(want, sizes[per], strict=True)):
        with pytest.raises(BudgetError, match="keeps none of the"):
            counts(budget, tiles, partition)
    else:
        assert sum(counts(budget, tiles, partition)) == sum(want)


@pytest.mark.parametrize(
    ("ratio", "size", "want"), [(0.1, 15, 2), (0.1, 25, 3), (0.29, 100, 29), (1.0, 577, 577), (1 / 3, 576, 192)]
)
def test_ratio_is_exact_arithmetic(ratio: float, size: int, want: int) -> None:
    assert counts(ratio, [[size]]) == (want,)


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (
            {"keep": 9},
            "budget 'tokens' keeps 9 per image, but image 1 has 8 tokens; lower `keep`, or set `if_short: keep_all`",
        ),
        ({"keep": 5, "per": "tile"}, "keeps 5 per tile, but image 1, tile 0 has 4 tokens"),
        ({"keep": 19, "per": "total"}, "keeps 19 per total, but all images together has 18 tokens"),
        (0.05, "budget 'ratio' of 0.05 keeps none of the 8 tokens of image 1; raise it, or set `budget: 0`"),
    ],
)
def test_what_cannot_be_met_names_the_unit(budget: Any, text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        counts(budget, [[10], [4, 4]])
    assert text in str(caught.value)


def test_both_are_exact_and_not_adaptive(registry: scope.Registry) -> None:
    assert not built(registry, "budget", {"name": "tokens", "keep": 4}).adaptive
    assert not built(registry, "budget", {"name": "ratio", "keep_ratio": 0.5}).adaptive
    assert Pruner("scope@4").plan([10]).exact

"""`ratio`: every unit is rounded half up, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.budget.cases import TILES, counts
from scope_core import BudgetError


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

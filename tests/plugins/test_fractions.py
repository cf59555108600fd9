"""Shares of a spec count what their author meant: a third of 108 tokens is 36."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout
from scope_plugins._fractions import fraction


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_a_quotient_is_its_fraction(above: int, below: int) -> None:
    assert fraction(above / below) == Fraction(above, below)


@given(st.decimals(0, 1, places=9))
def test_a_decimal_is_its_digits(number: Any) -> None:
    assert fraction(float(number)) == Fraction(number)


@given(st.floats(0, 1))
def test_it_is_the_number_to_the_last_bit(number: float) -> None:
    assert float(fraction(number)) == number


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        ({"name": "ratio_with_frame", "keep_ratio": 1 / 3}, 36),
        ({"name": "ratio_with_frame", "keep_ratio": 0.29}, 31),
        ({"name": "ratio", "keep_ratio": 5 / 72}, 8),  # 7.5, halves up
        ({"name": "staged", "ratios": [1 / 3], "rounding": "floor"}, 36),
    ],
)
def test_budgets(budget: dict[str, Any], kept: int) -> None:
    pruner = scope.Pruner({"recipe": "random", "budget": budget})
    assert pruner.plan(Layout.of([[18] * 6], videos=[0])).counts == (kept,)

"""`saturated`: gains by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import built

import scope_core as scope
from plugins.coverage.cases import gains_along

S = np.array([[1, 0.5, 0.25], [0.5, 1, 0], [0.25, 0, 1]])


def test_by_hand(registry: scope.Registry) -> None:
    """With a share of a half the caps are 0.875, 0.75 and 0.625."""
    none, one, two = gains_along(built(registry, "coverage", {"name": "saturated", "share": 0.5}), S, [0, 1])
    assert none.tolist() == pytest.approx([0.875 + 0.5 + 0.25, 0.5 + 0.75 + 0, 0.25 + 0 + 0.625])
    assert one.tolist()[1:] == pytest.approx([0 + 0.25 + 0, 0 + 0 + 0.375])  # left to the caps: 0, 0.25 and 0.375
    assert two.tolist()[2] == pytest.approx(0.375)


def test_a_share_of_one_is_the_sum_of_all_similarities(registry: scope.Registry) -> None:
    for gains in gains_along(built(registry, "coverage", {"name": "saturated", "share": 1.0}), S, [2]):
        assert gains.tolist()[:2] == pytest.approx([1.75, 1.5])

"""`theta_cover`: covered tokens, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import built

import scope_core as scope
from plugins.coverage.cases import gains_along

S = np.array([[1, 0.5, 0.25], [0.5, 1, 0], [0.25, 0, 1]])


@pytest.mark.parametrize(
    ("theta", "none", "after_the_first"),
    [
        (0.25, [3, 2, 2], [0, 0]),  # the first token covers all
        (0.5, [2, 2, 1], [0, 1]),
        (0.8, [1, 1, 1], [1, 1]),
        (1.5, [0, 0, 0], [0, 0]),
    ],
)
def test_by_hand(theta: float, none: list[int], after_the_first: list[int], registry: scope.Registry) -> None:
    start, after = gains_along(built(registry, "coverage", {"name": "theta_cover", "theta": theta}), S, [0])
    assert start.tolist() == none
    assert after.tolist()[1:] == after_the_first


def test_a_similarity_that_is_theta_up_to_rounding_covers(registry: scope.Registry) -> None:
    near = S.copy()
    near[0, 1] = near[1, 0] = 0.5 - 1e-7
    coverage = built(registry, "coverage", {"name": "theta_cover", "theta": 0.5})
    assert gains_along(coverage, near, [])[0].tolist() == [2, 2, 1]

"""`graph_cut`: gains by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import built

import scope_core as scope
from plugins.coverage.cases import gains_along

S = np.array([[1, 0.5, 0.25], [0.5, 1, 0], [0.25, 0, 1]])


def test_by_hand(registry: scope.Registry) -> None:
    """Columns sum to 1.75, 1.5 and 1.25. A pick takes its similarity to each token from the gain twice."""
    none, one, two = gains_along(built(registry, "coverage", "graph_cut"), S, [0, 2])
    assert none.tolist() == [2.5, 2.0, 1.5]
    assert one.tolist()[1:] == [1.0, 1.0]
    assert two.tolist()[1] == 1.0


def test_balance_weighs_the_similarity_to_all(registry: scope.Registry) -> None:
    none, one = gains_along(built(registry, "coverage", {"name": "graph_cut", "balance": 1.0}), S, [0])
    assert none.tolist() == [0.75, 0.5, 0.25]
    assert one.tolist()[1:] == [-0.5, -0.25]


def test_balance_is_above_zero() -> None:
    with pytest.raises(scope.SpecError, match="balance"):
        scope.Pruner({"recipe": "coverage_only", "coverage": {"name": "graph_cut", "balance": 0}})

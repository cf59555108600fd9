"""`coverage_only`: the gain itself."""

from __future__ import annotations

import scope_core as scope
from plugins.combiner.cases import score


def test_by_the_formula(registry: scope.Registry) -> None:
    assert score(registry, "coverage_only") == [2, 1, 0, 3]

"""`modular`: every gain is 1."""

from __future__ import annotations

from fakes import built

import scope_core as scope
from plugins.coverage.cases import cosines, gains_along


def test_gains_are_one_for_ever(registry: scope.Registry) -> None:
    coverage = built(registry, "coverage", "modular")
    assert not coverage.uses_similarity
    assert all((gains == 1).all() for gains in gains_along(coverage, cosines(0, 5), [3, 1]))

"""`stacked`: weighted sums of functions."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import built

import scope_core as scope


class TestStacked:
    def test_declares_what_all_its_functions_do(self, registry: scope.Registry) -> None:
        def stacked(*names: str) -> Any:
            return built(registry, "coverage", {"name": "stacked", "of": names})

        both = stacked("facility_location", "theta_cover")
        assert (both.monotone, both.submodular, both.nonnegative_similarity, both.uses_similarity) == (1, 1, 0, 1)
        mixed = stacked("log_det", "saturated", "max_min")
        assert (mixed.monotone, mixed.submodular, mixed.nonnegative_similarity) == (False, False, True)
        assert not stacked("modular", "text_facility_location").uses_similarity
        assert stacked("modular", "text_facility_location").parts["of"][1].needs == {"text.embeddings"}

    def test_needs_reach_the_pruner(self) -> None:
        spec = {"recipe": "coverage_only", "coverage": {"name": "stacked", "of": ["modular", "text_facility_location"]}}
        assert "text.embeddings" in scope.Pruner(spec).needs

    def test_one_weight_per_function(self) -> None:
        spec = {"recipe": "scope", "coverage": {"name": "stacked", "of": ["modular"], "weights": [1, 2]}}
        with pytest.raises(scope.SpecError, match="one weight per function: 1 functions, weights"):
            scope.Pruner(spec)

"""`log_det`: determinants by definition, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import offers
import oracles
import oracles_sets
import pytest
import torch
from fakes import random_case
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import VisualTokens
from scope_core.parts import SimilarityMetric


@offers.half_products
def test_determinants_of_tokens_without_weight_in_half_precision() -> None:
    """The square of a small weight underflows in half precision, and its product with another weight does not."""
    features, _ = random_case(1, 12)
    relevance = torch.linspace(0, 1, 12).half()[None]
    scaled = {"name": "scaled", "offset": 1e-6, "of": "cls_attention"}
    spec = {"recipe": "scope", "saliency": scaled, "coverage": "log_det", "combiner": "kernel", "dtype": "as_is"}
    got = scope.select(features.half(), saliency=relevance, spec={**spec, "budget": 4})
    assert got.counts == (4,)


class TestLogDet:
    @given(st.integers(0, 10_000), st.integers(1, 7))
    def test_every_greedy_pick_has_the_highest_determinant(self, seed: int, keep: int) -> None:
        features = torch.tensor(np.random.default_rng(seed).normal(size=(1, 7, 9)))
        spec = {"recipe": "coverage_only", "coverage": "log_det", "dtype": "float64", "budget": keep}
        picks = scope.select(features, spec=spec).picks[0].tolist()
        S = oracles.cosine_matrix(features[0].numpy())
        for step, pick in enumerate(picks):
            volumes = {j: np.linalg.det(S[np.ix_([*picks[:step], j], [*picks[:step], j])]) for j in range(7)}
            assert volumes[pick] >= max(volumes[j] for j in volumes if j not in picks[:step]) - 1e-12

    def test_gains_add_up_to_the_determinant(self) -> None:
        features = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        spec = {"recipe": "coverage_only", "coverage": "log_det", "dtype": "float64", "budget": 9}
        got = scope.select(features, spec=spec)
        S = oracles.cosine_matrix(features[0].numpy())
        assert got.gains.sum().item() == pytest.approx(oracles_sets.log_det(S, got.picks[0].tolist()), abs=1e-10)

    def test_copies_and_zero_vectors_come_last_by_index(self) -> None:
        features = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
        case = torch.cat([features, features, torch.zeros(2, 16)])
        spec = {"recipe": "coverage_only", "coverage": "log_det", "budget": 14}
        picks = scope.select(case, spec=spec).picks[0].tolist()
        assert sorted(pick % 6 for pick in picks[:6]) == list(range(6))
        assert picks[6:] == sorted(picks[6:])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_more_tokens_than_dimensions(self, dtype: str) -> None:
        """Past the rank of the features nothing is left to span: the rest comes by index, and nothing overflows."""
        features = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(2))
        spec = {"recipe": "coverage_only", "coverage": "log_det", "budget": 40, "dtype": dtype}
        got = scope.select(features, spec=spec)
        assert torch.isfinite(got.gains).all()
        for row in got.picks.tolist():
            assert sorted(row) == list(range(40))
            assert row[5:] == sorted(row[5:])

    @pytest.mark.parametrize(
        ("similarity", "what"),
        [("row_softmax", "is not symmetric"), ({"name": "acme.indefinite"}, "is not positive semi-definite")],
    )
    def test_other_similarities_are_refused(self, similarity: Any, what: str, registry: scope.Registry) -> None:
        from fakes import with_part

        def indefinite(self: Any, tokens: VisualTokens) -> torch.Tensor:
            return torch.ones(*tokens.shape[:2], tokens.shape[1]) * 2 - torch.eye(tokens.shape[1])

        registry = with_part(registry, SimilarityMetric, "acme.indefinite", pairwise=indefinite)
        spec = {"recipe": "coverage_only", "coverage": "log_det", "similarity": similarity, "budget": 3}
        with pytest.raises(scope.SpecError, match=what):
            scope.select(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), spec=spec, registry=registry)

"""`kernel`: saliency conditions the similarity."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY


def test_it_conditions_the_similarity() -> None:
    combiner = built(REGISTRY, "combiner", "kernel")
    S, r = torch.randn(1, 4, 4), torch.tensor([[1.0, 2, 3, 4]])
    torch.testing.assert_close(combiner.condition(S, r), S * r[:, :, None] * r[:, None, :])
    assert combiner.combine(S[:, 0], r).equal(S[:, 0])


def test_negative_weights_are_refused() -> None:
    features = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    spec = {"recipe": "cdpruner", "saliency": "text_relevance", "budget": 2}
    signals = {"clip.text_similarity": torch.full((1, 1, 6), 0.2)}
    with pytest.raises(scope.TokensError, match="needs saliency of at least 0"):
        scope.select(features, signals=signals, spec=spec)
    spec["combiner"] = {"name": "kernel", "theta": 0.5}
    assert scope.select(features, signals=signals, spec=spec).counts == (2,)


def test_weights_whose_products_overflow_are_refused_with_the_saliency() -> None:
    """The caller's numbers are too large: no part broke its contract."""
    features = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    spec = {
        "recipe": "cdpruner",
        "saliency": "feature_norm",
        "combiner": {"name": "kernel", "theta": 0.99},
        "budget": 2,
    }
    with pytest.raises(scope.TokensError, match=r"with theta 0\.99 whose square exceeds the range of float32"):
        scope.select(features, spec=spec)
    spec["combiner"] = "kernel"
    assert scope.select(features, spec=spec).counts == (2,)
    with pytest.raises(scope.TokensError, match="gives a weight whose square exceeds the range of float32"):
        scope.select(
            features * 1e15, spec={**spec, "saliency": {"name": "blend", "of": ["feature_norm"] * 2, "how": "product"}}
        )
    spec["saliency"] = {"name": "scaled", "of": "feature_norm", "scale": "max"}
    assert scope.select(features * 1e15, spec=spec).counts == (2,)

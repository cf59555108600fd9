"""`blend`: sums, products and extremes of sources."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fakes import built

import scope_core as scope
from plugins.cases import POSITIVE, REGISTRY, clip_tokens, score


class TestBlend:
    def test_sums_products_and_extremes(self) -> None:
        tokens = clip_tokens([1.0, 2.0, 4.0])
        norm = np.full(3, math.sqrt(2))
        one = np.array([1.0, 2, 4])
        for how, want in {
            "sum": 0.5 * one + 3 * norm,
            "product": one**0.5 * norm**3,
            "max": np.maximum(0.5 * one, 3 * norm),
            "min": np.minimum(0.5 * one, 3 * norm),
        }.items():
            spec = {"name": "blend", "of": [POSITIVE, "feature_norm"], "weights": [0.5, 3], "how": how}
            np.testing.assert_allclose(score(spec, tokens)[0], want)

    def test_scale_comes_first(self) -> None:
        spec = {"name": "blend", "of": [POSITIVE, "uniform"], "scale": "max"}
        np.testing.assert_allclose(score(spec, clip_tokens([1.0, 2.0, 4.0]))[0], [1.25, 1.5, 2])

    def test_a_product_refuses_negative_scores(self) -> None:
        spec = {"name": "blend", "of": [POSITIVE, "uniform"], "how": "product"}
        with pytest.raises(scope.TokensError, match=r"'text_relevance'.* gave -0.5 to image 0, token 1"):
            score(spec, clip_tokens([1.0, -0.5]))

    def test_whether_scores_can_be_negative_follows_from_the_sources(self) -> None:
        def nonnegative(**options: Any) -> bool:
            return bool(built(REGISTRY, "saliency", {"name": "blend", **options}).nonnegative)

        assert nonnegative(of=["feature_norm", "uniform"])
        assert not nonnegative(of=["feature_norm", POSITIVE])
        assert not nonnegative(of=["feature_norm", "uniform"], weights=[1, -1])
        assert nonnegative(of=[POSITIVE], scale="min_max")
        assert built(REGISTRY, "saliency", {"name": "scaled", "of": POSITIVE}).nonnegative
        assert not built(REGISTRY, "saliency", {"name": "scaled", "of": POSITIVE, "scale": "max"}).nonnegative

    def test_one_weight_each(self) -> None:
        with pytest.raises(scope.SpecError, match="one weight per source: 1 sources"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "blend", "of": ["uniform"], "weights": [1, 2]}})
        with pytest.raises(scope.SpecError, match=r"saliency.of"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "blend", "of": []}})

    def test_needs_reach_the_pruner(self) -> None:
        spec = {"recipe": "scope", "saliency": {"name": "blend", "of": ["cls_attention", "text_relevance"]}}
        assert scope.Pruner(spec).needs == {"vision.cls_attention[-2]", "clip.text_similarity"}

"""SCOPE on real features, against the float64 oracle and against what the paper says of it."""

from __future__ import annotations

from itertools import product

import oracles
import pytest
import torch

import scope_core as scope
from photographs.conftest import Encoded

pytestmark = pytest.mark.tower

NEAR_TIE = 1e-6  # of the first pick's score; float32 cosines are good to about 1e-7


def agree(encoded: Encoded, photo: int, keep: int, alpha: float, combine: str) -> None:
    """The same picks in the same order, or differences only where two scores are equal up to rounding."""
    spec = {"recipe": "scope", "budget": keep, "combiner": {"name": combine, "alpha": alpha}}
    features, saliency = encoded.tokens.features[photo], encoded.attention[photo]
    picks = scope.select(features, saliency=saliency, spec=spec).picks[0].tolist()
    similarity = oracles.cosine_matrix(features.double().numpy())
    weights = saliency.double().numpy()
    wanted, _, scores = oracles.scope_picks(similarity, weights, keep, alpha=alpha, combine=combine)
    if picks != wanted:
        regrets = oracles.scope_regrets(similarity, weights, picks, alpha=alpha, combine=combine)
        assert max(regrets) <= NEAR_TIE * scores[0]


@pytest.mark.parametrize("photo", range(8))
@pytest.mark.parametrize("keep", [16, 64])
def test_scope_makes_the_oracles_picks(encoded: Encoded, photo: int, keep: int) -> None:
    agree(encoded, photo, keep, 1.0, "product")


@pytest.mark.parametrize(("alpha", "combine"), list(product([0.0, 0.5, 1.0, 2.0], ["product", "sum"])))
def test_every_alpha_and_both_combiners_at_192(encoded: Encoded, alpha: float, combine: str) -> None:
    agree(encoded, 1, 192, alpha, combine)


def test_one_batch_equals_photo_by_photo(encoded: Encoded) -> None:
    pruner = scope.Pruner("scope@64")
    together = pruner.prune(encoded.tokens)
    for photo in range(len(encoded.names)):
        alone = pruner.select(encoded.tokens.features[photo], saliency=encoded.attention[photo])
        assert torch.equal(alone.picks[0], together.picks[photo])


def test_saliency_alone_clusters_and_coverage_spreads(encoded: Encoded) -> None:
    """At K = 16 top-k by attention covers about 15% of tokens at theta 0.8, SCOPE about 75%."""
    covered = {
        recipe: scope.Pruner(recipe, budget=16).prune(encoded.tokens).coverage(0.8).mean().item()
        for recipe in ("top_k_attention", "scope", "coverage_only", "random")
    }
    assert 0.05 < covered["top_k_attention"] < 0.25
    assert 0.65 < covered["scope"] < 0.85
    assert covered["coverage_only"] > covered["scope"]


def test_coverage_agrees_with_the_oracle(encoded: Encoded) -> None:
    selection = scope.Pruner("scope@16").prune(encoded.tokens)
    for photo in range(3):
        features = encoded.tokens.features[photo].double().numpy()
        kept = selection.kept[photo].tolist()
        for theta, share in zip((0.6, 0.8, 0.9), selection.coverage((0.6, 0.8, 0.9))[photo].tolist(), strict=True):
            assert share == pytest.approx(oracles.theta_coverage(features, kept, theta), abs=1.5 / 576)


def test_scope_keeps_more_saliency_than_coverage_alone(encoded: Encoded) -> None:
    share = {
        recipe: scope.Pruner(recipe, budget=64).prune(encoded.tokens).share_of(encoded.attention)
        for recipe in ("top_k_attention", "scope", "coverage_only")
    }
    assert (share["top_k_attention"] >= share["scope"]).all()
    assert (share["scope"] > share["coverage_only"]).all()


def test_every_recipe_runs_on_real_tokens(encoded: Encoded, registry: scope.Registry) -> None:
    """Those whose signals a tower by itself gives; budgets as the recipes have them."""
    ran = []
    for recipe in registry.names("recipe"):
        pruner = scope.Pruner(recipe)
        if pruner.decoder_layer is not None or not pruner.needs <= set(encoded.tokens.signals):
            continue
        selection, plan = pruner.prune(encoded.tokens), pruner.plan([encoded.tokens.shape[1]] * len(encoded.names))
        ran.append(recipe)
        assert sum(selection.row_counts) <= plan.total
        assert not plan.exact or sum(selection.row_counts) == plan.total
    assert {"scope", "top_k_attention", "coverage_only", "divprune", "random", "uniform_grid", "downsample"} <= set(ran)

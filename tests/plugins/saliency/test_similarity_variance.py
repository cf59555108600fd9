"""`similarity_variance`: over the other tokens, added to a base."""

from __future__ import annotations

import numpy as np
import torch
from fakes import built, random_case

import scope_core as scope
from plugins.encoder_tokens import images


def test_similarity_variance_is_over_the_other_tokens(registry: scope.Registry) -> None:
    tokens = images((8, 5))
    alone = built(registry, "saliency", "similarity_variance").score(tokens)
    added = {"name": "similarity_variance", "base": {"name": "cls_attention", "heads": "mean"}, "weight": 0.5}
    together = built(registry, "saliency", added).score(tokens)
    base = tokens.signal("vision.cls_attention[-2]").mean(1)
    for image, size in enumerate((8, 5)):
        unit = torch.nn.functional.normalize(tokens.features[image, :size], dim=1).numpy()
        wanted = np.array([np.delete(row, i).var() for i, row in enumerate(unit @ unit.T)])
        np.testing.assert_allclose(alone[image, :size], wanted, rtol=1e-9)
        mine = base[image, :size].numpy()
        scaled = mine + 0.5 * wanted * mine.mean() / wanted.mean()
        np.testing.assert_allclose(together[image, :size], scaled, rtol=1e-9)


def test_variance_does_not_look_at_padding() -> None:
    features, _ = random_case(1, 12)
    features[0, 0] = torch.nan
    valid = torch.arange(12)[None] > 0
    spec = {"saliency": "similarity_variance", "combiner": "saliency_only", "coverage": "modular", "budget": 3}
    alone = scope.select(features[:, 1:], spec=spec).picks + 1
    assert scope.select(features, valid=valid, spec=spec).picks.equal(alone)

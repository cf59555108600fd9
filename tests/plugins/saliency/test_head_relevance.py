"""`head_relevance`: against its oracle, with padding in texts and images."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

NAMES = ("decoder.plain_queries[0]", "decoder.plain_keys[0]")


def test_padding_counts_for_nothing(registry: scope.Registry) -> None:
    make = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 4, 5, 8, generator=make, dtype=torch.float64)
    keys = torch.randn(2, 2, 7, 8, generator=make, dtype=torch.float64)
    queries[0, :, 3:] = 0  # the first text has 3 tokens
    valid = torch.ones(2, 7, dtype=torch.bool)
    valid[1, 5:] = False
    tokens = VisualTokens.of(
        torch.ones(2, 7, 2).double(), valid=valid, signals=dict(zip(NAMES, (queries, keys), strict=True))
    )
    part = built(registry, "saliency", {"name": "head_relevance", "weights": [1, 2, 3, 4]})
    got = part.score(tokens)
    for group, (words, count) in enumerate(((3, 7), (5, 5))):
        wanted = oracle.hawk(queries[group, :, :words].numpy(), keys[group, :, :count].numpy(), [1, 2, 3, 4])
        np.testing.assert_allclose(got[group, :count].numpy(), wanted, atol=1e-12)


def test_an_image_without_text_after_it_gets_zeros(registry: scope.Registry) -> None:
    signals = {NAMES[0]: torch.zeros(1, 4, 2, 8), NAMES[1]: torch.ones(1, 4, 7, 8)}
    tokens = VisualTokens.of(torch.ones(1, 7, 2), signals=signals)
    assert not built(registry, "saliency", "head_relevance").score(tokens).any()

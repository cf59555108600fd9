"""`share_above`: tokens above a threshold."""

from __future__ import annotations

from fakes import built

from plugins.cases import POSITIVE, REGISTRY, clip_tokens


def test_share_of_valid_tokens_above() -> None:
    part = built(REGISTRY, "statistic", {"name": "share_above", "saliency": POSITIVE, "threshold": 0.5})
    assert float(part.measure(clip_tokens([0.5, 0.6, 0.7, 0.1]))) == 0.5  # a token at the threshold is not above it
    assert float(part.measure(clip_tokens([0.9, 0.9, 0.1], valid=[True, False, True]))) == 0.5
    assert float(part.measure(clip_tokens([0.1, 0.2]))) == 0

"""`saliency_entropy`: from 0, one token, to 1, all alike."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import POSITIVE, REGISTRY, clip_tokens


def test_from_one_token_to_all() -> None:
    part = built(REGISTRY, "statistic", {"name": "saliency_entropy", "saliency": POSITIVE})
    assert float(part.measure(clip_tokens([0.0, 0.7, 0.0, 0.0]))) == 0
    assert float(part.measure(clip_tokens([0.2, 0.2, 0.2, 0.2]))) == pytest.approx(1)
    assert float(part.measure(clip_tokens([0.5, 0.5, 1e-30, 1e-30]))) == pytest.approx(0.5)
    assert float(part.measure(clip_tokens([0.3, 0.3, 0.9], valid=[True, True, False]))) == pytest.approx(1)


def test_all_zero_is_even_and_negative_is_refused() -> None:
    part = built(REGISTRY, "statistic", {"name": "saliency_entropy", "saliency": POSITIVE})
    assert float(part.measure(clip_tokens([0.0, 0.0, 0.0]))) == pytest.approx(1)
    with pytest.raises(scope.TokensError, match=r"token 1.*min_max"):
        part.measure(clip_tokens([0.1, -0.1, 0.2]))
    assert torch.isfinite(part.measure(clip_tokens([0.4])))

"""Properties that several combiners share."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from plugins.combiner.cases import SALIENCY, score
from scope_core import VisualTokens


@pytest.mark.parametrize("combiner", ["product", "sum"])
def test_negative_saliency_names_the_token(combiner: str, registry: scope.Registry) -> None:
    saliency = SALIENCY.clone()
    saliency[0, 2] = -0.25
    with pytest.raises(scope.TokensError) as caught:
        score(registry, combiner, saliency)
    for text in (f"combiner '{combiner}'", "image 0, token 2 has -0.25", "'saliency_only'"):
        assert text in str(caught.value)
    valid = torch.tensor([[True, True, False, True]])
    assert score(registry, combiner, saliency, VisualTokens.of(torch.ones(1, 4, 2), valid=valid))[0] > 0

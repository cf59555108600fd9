"""`prompt_relevance`: each word shares one unit among the tokens that are like it."""

from __future__ import annotations

import numpy as np
import oracles_recent as oracle
import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def relevance(registry: scope.Registry, text: torch.Tensor, projected: torch.Tensor, **more: object) -> torch.Tensor:
    signals = {"text.embeddings": text, "projected": projected}
    tokens = VisualTokens.of(torch.ones(len(text), projected.shape[1], 3, dtype=torch.float64), signals=signals)
    return built(registry, "saliency", {"name": "prompt_relevance", **more}).score(tokens)


def test_prompt_relevance_is_the_oracles(registry: scope.Registry) -> None:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(2, 5, 8, generator=generator, dtype=torch.float64)
    text[1, 3:] = 0  # a shorter prompt
    projected = torch.randn(2, 40, 8, generator=generator, dtype=torch.float64)
    got = relevance(registry, text, projected, temperature=0.1)
    for row, words in enumerate((5, 3)):
        wanted = oracle.prompt_relevance(text[row, :words].numpy(), projected[row].numpy(), 0.1)
        np.testing.assert_allclose(got[row], wanted, rtol=1e-9)
    nothing = relevance(registry, torch.zeros_like(text), projected)
    torch.testing.assert_close(nothing, torch.full_like(nothing, 1 / 40))
    with pytest.raises(scope.TokensError, match=r"against: projected"):
        relevance(registry, text[..., :4], projected)

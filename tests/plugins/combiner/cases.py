"""Gains and saliency of four tokens, and the scores that a combiner makes of them."""

from __future__ import annotations

from typing import Any

import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

GAIN = torch.tensor([[2.0, 1.0, 0.0, 3.0]])
SALIENCY = torch.tensor([[0.5, 2.0, 4.0, 0.0]])
TOKENS = VisualTokens.of(torch.ones(1, 4, 2))


def score(
    registry: scope.Registry, combiner: Any, saliency: torch.Tensor = SALIENCY, tokens: Any = TOKENS
) -> list[float]:
    part = built(registry, "combiner", combiner)
    made: list[float] = part.combine(GAIN, part.prepare(saliency, tokens))[0].tolist()
    return made

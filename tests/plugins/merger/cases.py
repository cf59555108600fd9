"""Tokens on which mergers are tried."""

from __future__ import annotations

from typing import Any

import oracles_encoder as oracle
import torch

import scope_core as scope
from plugins.cases import TOP

FEATURES = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0))


SALIENCY = torch.rand(1, 12, generator=torch.Generator().manual_seed(1))


def merged(merger: dict[str, Any], keep: int = 4, **more: Any) -> tuple[scope.Selection, torch.Tensor]:
    got = scope.select(FEATURES, saliency=SALIENCY, spec={**TOP, "merger": merger, "budget": keep}, **more)
    cls = torch.full_like(FEATURES, 7.0)
    return got, got.merge(FEATURES, cls)[0]


def groups(kept: list[int]) -> dict[int, list[int]]:
    unit = FEATURES[0].double().numpy()
    found: dict[int, list[int]] = {token: [] for token in kept}
    for token in range(12):
        if token not in found:
            found[oracle.most_similar(unit, token, kept)].append(token)
    return found

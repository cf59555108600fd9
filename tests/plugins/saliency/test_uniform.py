"""`uniform`: the same score for every token."""

from __future__ import annotations

import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_every_score_is_one(registry: scope.Registry) -> None:
    assert built(registry, "saliency", "uniform").score(VisualTokens.of(torch.rand(2, 5, 3))).eq(1).all()

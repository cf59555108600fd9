"""`saliency_only`: the saliency itself, negative or not."""

from __future__ import annotations

import torch

import scope_core as scope
from plugins.combiner.cases import SALIENCY, score


def test_by_the_formula(registry: scope.Registry) -> None:
    assert score(registry, "saliency_only") == [0.5, 2, 4, 0]


def test_negative_saliency_may_be_ranked(registry: scope.Registry) -> None:
    got = scope.select(torch.eye(4), saliency=-SALIENCY[0], spec="top_k_attention@3", registry=registry)
    assert got.picks.tolist() == [[3, 0, 1]]

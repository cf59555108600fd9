"""Simple, correct parts that stand beside the part under test."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core.parts.combiner import Combiner
from scope_core.parts.coverage import CoverageFunction
from scope_core.parts.saliency import SaliencySource
from scope_core.parts.similarity import SimilarityMetric
from scope_core.registry.specs import ComponentSpec
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.parts.cases import RANK


class Ranks(SaliencySource[ComponentSpec]):
    """The kit's rank signal: no two tokens of a group are equal."""

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in (0, 1)."""
        return tokens.signal(RANK)


class Halves(Ranks):
    """Only two levels, so that scores tie."""

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) of 1 and 2."""
        return (tokens.signal(RANK) > 0.5).to(tokens.features) + 1


class Cosine(SimilarityMetric[ComponentSpec]):
    """Cosine of features, exactly symmetric."""

    mirrored = True

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N)."""
        return cosine(tokens)


class Facilities(CoverageFunction[ComponentSpec]):
    """Facility location, written out."""

    def start(self, similarity: Tensor, tokens: VisualTokens) -> tuple[Tensor, Tensor]:
        """The state before the first pick: nothing is covered."""
        return similarity.clamp(min=0), similarity.new_zeros(similarity.shape[:2])

    def gain(self, state: tuple[Tensor, Tensor]) -> Tensor:
        """(B, N)."""
        similarity, best = state
        return (similarity - best[:, :, None]).clamp(min=0).sum(1)

    def add(self, state: tuple[Tensor, Tensor], pick: Tensor) -> tuple[Tensor, Tensor]:
        """Each token is covered at least as well as by the pick."""
        similarity, best = state
        return similarity, best.maximum(similarity[torch.arange(len(pick)), :, pick])


class Times(Combiner[ComponentSpec]):
    """Gain times saliency."""

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N)."""
        return gain * saliency


def cosine(tokens: VisualTokens, *, squared: bool = False) -> Tensor:
    """(B, N, N) cosines, or their squares, which are positive semi-definite too and never negative; padding 0."""
    unit = tokens.unit().masked_fill(~tokens.valid[..., None], 0)
    matrix = unit @ unit.mT
    matrix = (matrix + matrix.mT) / 2
    return matrix.square() if squared else matrix

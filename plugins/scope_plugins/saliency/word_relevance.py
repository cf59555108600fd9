"""Relevance of each patch to the words that point somewhere in the image."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class WordRelevanceSpec(ComponentSpec):
    """Similarity to the words of lowest entropy, words of lower entropy counting more."""

    name: Literal["word_relevance"] = "word_relevance"
    sign: Literal["negative", "positive"] = "negative"
    """Sign of the cosine, as for `text_relevance`: CLIP's patches that show what a word names tend to have the *lower*
    cosine."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the words that are kept, those of lowest entropy; at least one."""
    sharpness: Annotated[float, Field(gt=0)] = 100.0
    """Factor of the cosines before the softmax over patches whose entropy is a word's."""
    temperature: Annotated[float, Field(gt=0)] = 0.01
    """Temperature of the softmax over minus the entropies that weighs the kept words."""


class WordRelevance(SaliencySource[WordRelevanceSpec]):
    """The patches that words with a place in the image point at.

    Use it beside `text_relevance`, which compares patches with the whole question: words such as "the" match every
    patch a little, and are left out here.

    ``a_j = sum_t v_t s_tj``: ``s`` are minus the cosines, word t has entropy ``H_t`` of ``softmax_j(sharpness s_tj)``
    over valid patches, and ``v = softmax(-H / temperature)`` over the kept words. Words whose similarities are all 0
    are padding; without words, all patches are equally relevant. Source: EADP, ECCV 2026, arXiv 2607.02484.
    """

    nonnegative = False

    @property
    def needs(self) -> frozenset[str]:
        """The cosines of words, computed by the host."""
        return frozenset({"clip.word_similarity"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [-1, 1]."""
        given = tokens.signal("clip.word_similarity")  # (B, T, N)
        cosines = given.double() if self.spec.sign == "positive" else -given.double()
        pairs = tokens.valid[:, None, :].expand_as(cosines)
        real = ((cosines != 0) & pairs).any(2)  # (B, T)
        log = (cosines * self.spec.sharpness).masked_fill(~pairs, -torch.inf).log_softmax(2)
        entropy = -(log.exp() * log.masked_fill(~pairs, 0)).sum(2).masked_fill(~real, -torch.inf)
        kept = (real.sum(1) * self.spec.share).floor().clamp(min=1)[:, None]
        rank = entropy.sort(dim=1, stable=True).indices.argsort(1)
        chosen = real & (rank < kept)
        weights = (-entropy / self.spec.temperature).masked_fill(~chosen, -torch.inf)
        weights = torch.where(chosen.any(1, keepdim=True), weights, torch.zeros_like(weights)).softmax(1)
        cosines = cosines.masked_fill(~(chosen[:, :, None] & pairs), 0)
        return (weights[:, :, None] * cosines).sum(1).to(given.dtype)

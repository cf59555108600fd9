"""Relevance of each token to the prompt, in the language model's own space."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class PromptRelevanceSpec(ComponentSpec):
    """How much of the prompt's words each token answers to, by cosine of embeddings."""

    name: Literal["prompt_relevance"] = "prompt_relevance"
    against: str = "projected"
    """The vectors that the text's embeddings are compared with: ``features``, or a signal in the same space."""
    temperature: Annotated[float, Field(ge=1e-6)] = 0.05
    """Temperature of a softmax over each word's cosines; the smaller, the more its best token gets."""


class PromptRelevance(SaliencySource[PromptRelevanceSpec]):
    """The tokens that the words of the prompt point at.

    Use it with models whose projector maps patches near the embeddings of words that name them, and where no text
    encoder shares the tower's space. A word that matches every token alike adds the same to all, so function words
    change little.

    ``a_j = sum over words t of softmax_j(cos(z_t, x_j) / temperature)``, over valid tokens, in float64; ``z`` are
    ``text.embeddings``, whose rows of zeros are padding. Without text all tokens are equally relevant.
    Source: the first gain of MMTok's text coverage, arXiv 2508.18264.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The text's embeddings, and the signal they are compared with."""
        return frozenset({"text.embeddings", self.spec.against} - {"features"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) at least 0; each group adds up to the number of its words, or to 1 without words.

        Raises:
            TokensError: text and tokens differ in width.
        """
        text, name = tokens.signal("text.embeddings").double(), self.spec.against
        vectors = (tokens.features if name == "features" else tokens.signal(name)).double()
        if vectors.dim() != 3 or text.dim() != 3 or text.shape[2] != vectors.shape[2]:
            raise TokensError(
                f"saliency {self} compares text.embeddings of shape {tuple(text.shape)} with {name} of shape "
                f"{tuple(vectors.shape)}; their last sizes must agree: set `against: projected`"
            )
        real = (text != 0).any(2)
        words = replace(tokens, features=text, valid=torch.ones_like(real)).unit()
        cosines = words @ replace(tokens, features=vectors).unit().mT / self.spec.temperature
        mass = cosines.masked_fill(~tokens.valid[:, None], -torch.inf).softmax(2).nan_to_num(0)
        total = mass.masked_fill(~real[..., None], 0).sum(1)
        equal = tokens.valid / tokens.valid.sum(1, keepdim=True).clamp(min=1)
        return torch.where(real.any(1, keepdim=True), total, equal.double()).to(tokens.features.dtype)

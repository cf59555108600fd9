"""Attention inside the language model from the text tokens that are closest to the image."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class RaterAttentionSpec(ComponentSpec):
    """Attention to each visual token from chosen text tokens at one layer of the language model."""

    name: Literal["rater_attention"] = "rater_attention"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose attention is read, counted from 0; at most that of the stage, ``decoder[k]``."""
    heads: Literal["mean", "sum", "max"] = "mean"
    """The combination of heads."""


class RaterAttention(SaliencySource[RaterAttentionSpec]):
    """The visual tokens that the words about the image look at; other words of the question do not count.

    Use it inside the language model for questions with many words that say nothing about the image.

    ``a_j`` is the mean over raters i and heads h of ``softmax(q_i k^T / sqrt(d))_hj``. Raters are the text tokens after
    the image that are more similar to it than the average one: ``r_i = mean_j softmax_i(v_j . t_i)`` over the
    embeddings that enter the language model, ``r_i > mean(r)``. They are chosen by all visual tokens, including those
    pruned before. If no text token is above average, all are raters.
    Source: SparseVLM, arXiv 2410.04417, sections 3.2 and 3.3.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Attention from the text in one layer, and the embeddings that enter the language model."""
        layer = self.spec.layer
        return frozenset({f"decoder.text_attention[{layer}]", "decoder.vision_hidden[0]", "decoder.text_hidden[0]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise; zeros for an image without text after it."""
        attention = tokens.signal(f"decoder.text_attention[{self.spec.layer}]")
        rates = raters(tokens.signal("decoder.vision_hidden[0]"), tokens.signal("decoder.text_hidden[0]"))
        if self.spec.heads == "mean":
            rows = attention.mean(1)
        else:
            rows = attention.sum(1) if self.spec.heads == "sum" else attention.amax(1)
        weight = rates.to(rows) / rates.sum(1, keepdim=True).clamp(min=1)
        return (rows * weight[..., None]).sum(1)


def raters(vision: Tensor, text: Tensor) -> Tensor:
    """(B, M) bool: the text tokens that are raters.

    Args:
        vision: (B, F, D) embeddings of all visual tokens; rows of zeros are padding.
        text: (B, M, D) embeddings of the text after them, likewise.
    """
    is_vision, is_text = vision.ne(0).any(2), text.ne(0).any(2)
    scores = (vision @ text.transpose(1, 2)).masked_fill(~is_text[:, None], -torch.inf)
    share = scores.softmax(2).masked_fill(~(is_vision[..., None] & is_text[:, None]), 0)
    mean = share.sum(1) / is_vision.sum(1, keepdim=True).clamp(min=1)
    average = mean.sum(1, keepdim=True) / is_text.sum(1, keepdim=True).clamp(min=1)
    rates = (mean > average) & is_text
    return torch.where(rates.any(1, keepdim=True), rates, is_text)

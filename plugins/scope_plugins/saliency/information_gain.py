"""What the question adds to the attention that an image gets anyway."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource

_EPS = 1e-10


class InformationGainSpec(ComponentSpec):
    """Attention from the question against attention from the first token after the image."""

    name: Literal["information_gain"] = "information_gain"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose attention is read, counted from 0; at most that of the stage, ``decoder[k]``."""
    queries: Literal["question", "last"] = "question"
    """The question's attention: the mean over all text tokens after the image, or that of the last one."""
    heads: Literal["mean", "max"] = "mean"
    """The combination of heads."""


class InformationGain(SaliencySource[InformationGainSpec]):
    """The tokens that this question looks at more than any question would.

    Use it inside the language model, where attention has places that it always favours.

    ``a_j = P_j log(P_j / Q_j)``: P is the attention from the text to the image's tokens, Q that of the first text token
    after the image, which has seen no question; both divided by their sums. Zeros for an image without text after it.
    Source: PriorTR, ECCV 2026.
    """

    nonnegative = False

    @property
    def needs(self) -> frozenset[str]:
        """Attention from the text in one layer."""
        return frozenset({f"decoder.text_attention[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N); sums to at least 0 over the valid tokens of a group, up to rounding."""
        (name,) = self.needs
        attention = tokens.signal(name).masked_fill(~tokens.valid[:, None, None], 0)  # (B, H, M, N)
        if attention.shape[2] == 0:
            return attention.new_zeros(tokens.shape[:2])
        real = attention.ne(0).any(3).any(1)  # (B, M): others are padding of shorter texts
        if self.spec.queries == "question":
            asked = attention.sum(2) / real.sum(1).clamp(min=1)[:, None, None]
        else:
            place = torch.arange(real.shape[1], device=real.device)
            last = (real * place).amax(1)
            asked = attention[torch.arange(len(last), device=real.device), :, last]
        task, prior = (_distribution(rows, self.spec.heads) for rows in (asked, attention[:, :, 0]))
        return task * ((task + _EPS) / (prior + _EPS)).log()


def _distribution(rows: Tensor, heads: str) -> Tensor:
    """(B, N) attention of all heads together, with a sum of 1."""
    rows = rows.float() if rows.element_size() < 4 else rows  # the smallest shares vanish in half precision
    joined = rows.mean(1) if heads == "mean" else rows.amax(1)
    return joined / (joined.sum(1, keepdim=True) + _EPS)

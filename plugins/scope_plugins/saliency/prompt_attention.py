"""Attention inside the language model from the prompt to each visual token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource

_FAMILIES = {"last": "last_query_attention", "all": "received_attention", "text": "text_attention"}


class PromptAttentionSpec(ComponentSpec):
    """Attention to each visual token at one layer of the language model."""

    name: Literal["prompt_attention"] = "prompt_attention"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose attention is read, counted from 0; at most that of the stage, ``decoder[k]``."""
    queries: Literal["last", "all", "text"] = "last"
    """Attention from the prompt's last token; or the mean over all its tokens except the visual token itself, or over
    the text tokens after the image."""
    heads: Literal["mean", "sum", "max"] = "mean"
    """The combination of heads."""


class PromptAttention(SaliencySource[PromptAttentionSpec]):
    """The visual tokens that the language model looks at for this question.

    Use it inside the language model, where the choice should depend on the question.

    ``a_j = mean_h softmax(q_i k^T / sqrt(d))_hj`` over all keys except padding, for the last i, or averaged over all i,
    or those of the text after the image (zeros if there is none).
    Source: FastV, arXiv 2403.06764 (attention received on average; its release reads the last token's row) and
    PyramidDrop, arXiv 2410.17247 (the last instruction token's row).
    """

    @property
    def needs(self) -> frozenset[str]:
        """The attention of one layer."""
        return frozenset({f"decoder.{_FAMILIES[self.spec.queries]}[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise."""
        (name,) = self.needs
        attention = tokens.signal(name)
        if self.spec.queries == "text":  # (B, H, M, N): rows of zeros are padding of shorter texts
            real = attention.masked_fill(~tokens.valid[:, None, None], 0).ne(0).any(3).any(1).sum(1)
            attention = attention.sum(2) / real.clamp(min=1)[:, None, None]
        if self.spec.heads == "sum":
            return attention.sum(1)
        return attention.mean(1) if self.spec.heads == "mean" else attention.amax(1)

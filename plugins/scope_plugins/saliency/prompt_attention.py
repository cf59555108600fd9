"""Attention inside the language model from the prompt: what the model looks at before it answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class PromptAttentionSpec(ComponentSpec):
    """Attention to each visual token at one layer of the language model."""

    name: Literal["prompt_attention"] = "prompt_attention"
    layer: Annotated[int, Field(ge=0)]
    """Which decoder layer's attention, counted from 0; at most that of the stage, ``decoder[k]``."""
    queries: Literal["last", "all"] = "last"
    """From the prompt's last token, or the mean over all its tokens but the one that is looked at."""
    heads: Literal["mean", "sum", "max"] = "mean"
    """How heads become one number."""


class PromptAttention(SaliencySource[PromptAttentionSpec]):
    """``a_j = mean_h softmax(q_i k^T / sqrt(d))_hj`` over all real keys, for the last i, or averaged over all i.

    Source: FastV, arXiv 2403.06764 (attention received on average; its release reads the last token's row) and
    PyramidDrop, arXiv 2410.17247 (the last instruction token's row).
    """

    @property
    def needs(self) -> frozenset[str]:
        """One layer's attention."""
        family = "last_query_attention" if self.spec.queries == "last" else "received_attention"
        return frozenset({f"decoder.{family}[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise."""
        (name,) = self.needs
        attention = tokens.signal(name)
        if self.spec.heads == "sum":
            return attention.sum(1)
        return attention.mean(1) if self.spec.heads == "mean" else attention.amax(1)

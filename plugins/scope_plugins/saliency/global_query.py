"""Attention to each visual token from the mean of all their queries, times the token's length."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._norms import norms


class GlobalQuerySpec(ComponentSpec):
    """Attention from the mean query, without positions, times the norm of the hidden state."""

    name: Literal["global_query"] = "global_query"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer that is read, counted from 0; at most that of the stage, ``decoder[k]``."""
    order: Annotated[float, Field(gt=0)] = 2.0
    """p of the norm: 2 is the Euclidean length."""


class GlobalQuery(SaliencySource[GlobalQuerySpec]):
    """The visual tokens that the image as a whole asks for, and that carry much.

    Use it inside the language model with any attention kernel: it needs no attention map, and no text.

    ``a_j = ||h_j||_p mean_h softmax_j(q_h . k_hj / sqrt(d))`` over the image's tokens; ``q_h`` is the mean of the
    queries of all visual tokens, q and k before the rotary embedding. Source: PACT, CVPR 2025, arXiv 2504.08966.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Queries, keys and hidden states of the visual tokens in one layer."""
        return frozenset(f"decoder.{what}[{self.spec.layer}]" for what in ("image_queries", "plain_keys", "hidden"))

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0."""
        queries = tokens.signal(f"decoder.image_queries[{self.spec.layer}]")  # (B, H, N, C)
        keys = tokens.signal(f"decoder.plain_keys[{self.spec.layer}]")  # (B, fewer H, N, C)
        valid = tokens.valid[:, None]
        count = tokens.valid.sum(1).clamp(min=1)[:, None, None]
        mean = queries.masked_fill(~valid[..., None], 0).sum(2) / count
        keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
        fit = (keys @ mean[..., None])[..., 0] / queries.shape[3] ** 0.5
        share: Tensor = fit.masked_fill(~valid, -torch.inf).softmax(2).masked_fill(~valid, 0).mean(1)
        return share * norms(tokens.signal(f"decoder.hidden[{self.spec.layer}]"), self.spec.order)

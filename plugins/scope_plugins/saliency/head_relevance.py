"""Fit of each visual token to the text, by the queries and keys of one layer without positions, head by head."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_plugins.saliency._heads import HeadSource, HeadsSpec


class HeadRelevanceSpec(HeadsSpec):
    """The weighted mean over heads of each head's scores, whose length is 1."""

    name: Literal["head_relevance"] = "head_relevance"
    layer: Annotated[int, Field(ge=0)] = 0
    """The decoder layer whose queries and keys are read, counted from 0; at most that of the stage, ``decoder[k]``."""


class HeadRelevance(HeadSource[HeadRelevanceSpec]):
    """The visual tokens that fit the question in the heads that matter.

    Use it inside the language model with head weights: heads differ in what they see, and a mean over all of them
    lets those that see nothing decide as much as the others.

    ``a_j = sum_h w_h r_hj / ||r_h||``, ``r_hj = mean_i q_hi . k_hj / sqrt(d)`` over the text tokens i after the image;
    q and k before the rotary embedding. Zeros for an image without text after it. Source: HAWK, CVPR 2026, arXiv
    2604.07812, equations 4 to 7.
    """

    nonnegative = False

    @property
    def needs(self) -> frozenset[str]:
        """Queries of the text and keys of the image in one layer."""
        return frozenset({f"decoder.plain_queries[{self.spec.layer}]", f"decoder.plain_keys[{self.spec.layer}]"})

    def by_head(self, tokens: VisualTokens) -> Tensor:
        """(B, H, N), of length 1 over the valid tokens, or zeros."""
        queries = tokens.signal(f"decoder.plain_queries[{self.spec.layer}]")  # (B, H, M, C)
        keys = tokens.signal(f"decoder.plain_keys[{self.spec.layer}]")  # (B, fewer H, N, C)
        real = queries.ne(0).any(3).any(1)  # (B, M): others are padding of shorter texts
        mean = queries.sum(2) / real.sum(1).clamp(min=1)[:, None, None]
        keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
        fit = (keys @ mean[..., None])[..., 0] / queries.shape[3] ** 0.5
        fit = fit.float() if fit.element_size() < 4 else fit  # lengths of small vectors vanish in half precision
        return torch.nn.functional.normalize(fit.masked_fill(~tokens.valid[:, None], 0), dim=2)

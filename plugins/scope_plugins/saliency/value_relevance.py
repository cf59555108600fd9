"""Similarity of each visual token's values to those of the text, and to those of the tokens that are most like it."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class ValueRelevanceSpec(ComponentSpec):
    """Attention by values instead of queries and keys, from the text and from seeds among the visual tokens."""

    name: Literal["value_relevance"] = "value_relevance"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose values are read, counted from 0; at most that of the stage, ``decoder[k]``."""
    seeds: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the visual tokens that are seeds, at least one; 0 for none."""


class ValueRelevance(SaliencySource[ValueRelevanceSpec]):
    """The visual tokens whose content is like the question's, and like the tokens that are most like it.

    Use it inside the language model, where attention has a bias for places: values carry no positions.

    ``A_ij = mean_h softmax_j(v_hi . v_hj / sqrt(d))`` over all tokens j of the prompt. Seeds are the visual tokens of
    largest ``mean_i A_ij`` over the text tokens i after the image; ``a_j`` is the mean over those i and the seeds.
    Zeros for an image without text after it. Source: IVC-Prune, ICLR 2026, arXiv 2602.03060.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Values of the image, of the text after it, and of the whole prompt."""
        return frozenset(f"decoder.{what}[{self.spec.layer}]" for what in ("values", "text_values", "prompt_values"))

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 1]."""
        values, text, prompt = (
            tokens.signal(f"decoder.{what}[{self.spec.layer}]") for what in ("values", "text_values", "prompt_values")
        )
        asked = _shares(text, values, prompt).mean(1)  # (B, M, N)
        real = text.ne(0).any(3).any(1)  # (B, M): others are padding of shorter texts
        total = asked.masked_fill(~real[..., None], 0).sum(1).masked_fill(~tokens.valid, 0)
        count = real.sum(1, keepdim=True)
        if self.spec.seeds:
            seeds = self._seeds(total, tokens)
            places = torch.split(seeds.nonzero()[:, 1], seeds.sum(1).tolist())
            for group, index in enumerate(places):
                own = _shares(values[group, None][:, :, index], values[group, None], prompt[group, None])
                total[group] += own.mean(1)[0].sum(0)
            count = count + seeds.sum(1, keepdim=True)
        found = total / count.clamp(min=1)
        return found.masked_fill(~(real.any(1, keepdim=True) & tokens.valid), 0)

    def _seeds(self, total: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) bool: the seeds of each group; ties go to the lowest index."""
        seeds = torch.zeros_like(tokens.valid)
        for group, valid in enumerate(tokens.valid):
            index = valid.nonzero().flatten()
            count = max(1, round(self.spec.seeds * len(index)))
            best = total[group, index].sort(descending=True, stable=True).indices[:count]
            seeds[group, index[best]] = True
        return seeds


def _shares(rows: Tensor, columns: Tensor, prompt: Tensor) -> Tensor:
    """(B, H, R, N) the share of each column in the softmax of each row over the whole prompt.

    Args:
        rows: (B, H, R, C) values.
        columns: (B, H, N, C) values.
        prompt: (B, H, L, C) values; rows of zeros are padding.
    """
    scale = rows.shape[3] ** 0.5
    real = prompt.ne(0).any(3).any(1)[:, None, None]
    whole = (rows @ prompt.transpose(2, 3) / scale).masked_fill(~real, -torch.inf)
    shares: Tensor = (rows @ columns.transpose(2, 3) / scale - whole.logsumexp(3, keepdim=True)).exp()
    return shares

"""Scores of different ranges made comparable."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import TokensError, VisualTokens

Scale = Literal["none", "max", "sum", "mean", "min_max", "rank"]


def scaled(scores: Tensor, tokens: VisualTokens, how: str, *, over: str = "group", offset: float = 0.0) -> Tensor:
    """(B, N) ``scores`` on a common scale; padding is left out of every statistic and stays finite.

    Args:
        scores: (B, N).
        tokens: What was scored.
        how: ``max``, ``sum``, ``mean``: divided by it (a group where it is 0 stays as it is). ``min_max``:
            ``(a - min + offset) / (max - min)``, and 1 for all tokens where all are equal. ``rank``: 0 for the
            lowest to 1 for the highest, equal scores sharing their mean rank; 1 for a single token.
        over: ``group``: each group by itself; ``call``: the statistics are those of all groups of the call.
        offset: See ``min_max``.

    Raises:
        TokensError: what scores are divided by is negative, which would turn their order around.
    """
    if how == "none" or not scores.numel():
        return scores
    if over == "call":
        alone = scaled(scores.reshape(1, -1), _flat(tokens), how, offset=offset)
        return alone.reshape(scores.shape)
    valid = tokens.valid
    if how == "min_max":
        low = scores.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
        high = scores.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
        flat = ~(high > low)  # an empty group too
        spread = torch.where(flat, torch.ones_like(high), high - low)
        made = (scores - low.masked_fill(flat, 0) + offset) / spread
        return torch.where(flat, torch.ones_like(made), made).masked_fill(~valid, 0)
    if how == "rank":
        below = (scores[:, None, :] < scores[:, :, None]) & valid[:, None, :]
        equal = (scores[:, None, :] == scores[:, :, None]) & valid[:, None, :]
        rank = below.sum(2) + (equal.sum(2) - 1).double() / 2
        most = valid.sum(1, keepdim=True) - 1
        made = torch.where(most > 0, rank / most.clamp(min=1), torch.ones_like(rank))
        return made.masked_fill(~valid, 0).to(scores.dtype)
    real = scores.masked_fill(~valid, 0)
    if how == "max":
        size = scores.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
        size = size.masked_fill(torch.isinf(size), 0)
    else:
        size = real.sum(1, keepdim=True)
        if how == "mean":
            size = size / valid.sum(1, keepdim=True).clamp(min=1)
    if bool((size < 0).any()):
        raise TokensError(
            f"saliency cannot be divided by its {how}: it is {float(size.min()):.4g}, which would turn the order of "
            f"tokens around; use scale: min_max or rank"
        )
    return real / size.masked_fill(size == 0, 1)


def _flat(tokens: VisualTokens) -> VisualTokens:
    """The tokens of all groups as one group, for their mask alone."""
    from dataclasses import replace

    return replace(tokens, valid=tokens.valid.reshape(1, -1))

"""Scaling of scores to a common range."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_plugins._frames import pieces_of, tile_numbers

Scale = Literal["none", "max", "sum", "mean", "length", "min_max", "rank"]


def scaled(scores: Tensor, tokens: VisualTokens, how: str, *, over: str = "group", offset: float = 0.0) -> Tensor:
    """(B, N) scaled ``scores``; padding is excluded from every statistic and stays finite.

    Args:
        scores: (B, N).
        tokens: The tokens that were scored.
        how: ``max``, ``sum``, ``mean``, ``length`` (the root of the sum of squares): divide by it (unless it is 0).
            ``min_max``:
            ``(a - min + offset) / (max - min)``, or 1 for all tokens if all scores are equal. ``rank``: 0 for the
            lowest to 1 for the highest, equal scores sharing their mean rank; 1 for a single token.
        over: ``group``: statistics of each group; ``tile``: of each tile in it; ``call``: of all groups together.
        offset: See ``min_max``.

    Raises:
        TokensError: the divisor is negative, which would reverse the order of scores.
    """
    if how == "none" or not scores.numel():
        return scores
    if over == "call":
        joint = scaled(scores.reshape(1, -1), _flat(tokens), how, offset=offset)
        return joint.reshape(scores.shape)
    if over == "tile":
        return _by_tile(scores, tokens, how, offset)
    valid = tokens.valid
    if how == "min_max":
        low = scores.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
        high = scores.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
        flat = ~(high > low)  # includes empty groups
        spread = torch.where(flat, torch.ones_like(high), high - low)
        between = (scores - low.masked_fill(flat, 0) + offset) / spread
        return torch.where(flat, torch.ones_like(between), between).masked_fill(~valid, 0)
    if how == "rank":
        below = (scores[:, None, :] < scores[:, :, None]) & valid[:, None, :]
        equal = (scores[:, None, :] == scores[:, :, None]) & valid[:, None, :]
        rank = below.sum(2) + (equal.sum(2) - 1).double() / 2
        most = valid.sum(1, keepdim=True) - 1
        relative = torch.where(most > 0, rank / most.clamp(min=1), torch.ones_like(rank))
        return relative.masked_fill(~valid, 0).to(scores.dtype)
    real = scores.masked_fill(~valid, 0)
    if how == "max":
        size = scores.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
        size = size.masked_fill(torch.isinf(size), 0)
    elif how == "length":
        size = torch.linalg.vector_norm(real.double(), dim=1, keepdim=True)
    else:
        size = real.sum(1, keepdim=True)
        if bool(torch.isinf(size).any()):  # half precision
            size = real.double().sum(1, keepdim=True)
        if how == "mean":
            size = size / valid.sum(1, keepdim=True).clamp(min=1)
    if bool((size < 0).any()):
        raise TokensError(
            f"saliency cannot be divided by its {how}, {float(size.min()):.4g}: that would reverse the order of "
            f"tokens; use scale: min_max or rank"
        )
    return (real / size.masked_fill(size == 0, 1)).to(scores.dtype)


def _by_tile(scores: Tensor, tokens: VisualTokens, how: str, offset: float) -> Tensor:
    """(B, N) scaled by the statistics of each tile; 0 for padding."""
    pieces = pieces_of(tile_numbers(tokens))
    result = torch.zeros_like(scores)
    for group, tiles in enumerate(pieces):
        for index in tiles:
            alone = replace(tokens, valid=torch.ones_like(index, dtype=torch.bool)[None])
            result[group, index] = scaled(scores[group, index][None], alone, how, offset=offset)[0]
    return result


def _flat(tokens: VisualTokens) -> VisualTokens:
    """The tokens with all groups' masks joined into one group; only ``valid`` is meaningful."""
    return replace(tokens, valid=tokens.valid.reshape(1, -1))

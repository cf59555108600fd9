"""The kept token nearest to each token, and the share of tokens that have one near."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.structures.tokens import VisualTokens


def nearest_kept(tokens: VisualTokens, kept: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """`Selection.nearest`: (B, N) index of the kept token that covers each token, and (B, N) its cosine.

    Args:
        tokens: The tokens.
        kept: (B, K) int64 kept tokens, -1 at the end of shorter rows.
        mask: (B, N) bool: True for kept tokens.
    """
    valid, unit = tokens.valid, tokens.changed(features=tokens.features.float()).unit()
    if kept.shape[1] == 0:
        return torch.full_like(tokens.row, -1), unit.new_full(valid.shape, -torch.inf)
    batch = torch.arange(len(kept), device=unit.device)[:, None]
    cosine = torch.einsum("bnd,bkd->bnk", unit, unit[batch, kept.clamp(min=0)])
    cosine = cosine.masked_fill((kept < 0)[:, None] | ~valid[..., None], -torch.inf)
    place = cosine.argmax(2)
    best = cosine.gather(2, place[..., None])[..., 0]
    index = kept.gather(1, place).masked_fill(best == -torch.inf, -1)
    own = torch.arange(valid.shape[1], device=index.device).expand_as(index)
    return torch.where(mask, own, index), best


def share_within(theta: float | tuple[float, ...], best: Tensor, valid: Tensor) -> Tensor:
    """`Selection.coverage`: the share of valid tokens whose cosine ``best`` (B, N) is at least each of ``theta``.

    Raises:
        TokensError: a threshold is outside [-1, 1].
    """
    thetas = (theta,) if isinstance(theta, (int, float)) else tuple(theta)
    for given in thetas:
        if not -1 <= given <= 1:
            raise TokensError(f"theta is a cosine, so it must be in [-1, 1]; got {given}")
    # a token's cosine to itself is 1 only up to rounding, so theta = 1.0 needs a tolerance
    covered = best[..., None] >= torch.tensor(thetas, device=best.device) - 1e-6
    covered = covered & valid[..., None]
    share = covered.sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
    return share[:, 0] if isinstance(theta, (int, float)) else share

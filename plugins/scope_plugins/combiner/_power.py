"""saliency^alpha, for saliency of at least 0."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core import TokensError, VisualTokens


def power(saliency: Tensor, alpha: float, tokens: VisualTokens, who: str) -> Tensor:
    """(B, N) ``saliency ** alpha``; in float64, and of saliency over its maximum, where it leaves the dtype's range.

    Raises:
        TokensError: a valid token's saliency is negative: its power may be undefined, or reverse the ranking; or the
            powers of some leave the range of float64, too.
    """
    if saliency.numel() and float(saliency.detach().amin()) >= 0:
        return _in_range(saliency, alpha, tokens, who)
    negative = (saliency < 0) & tokens.valid
    if bool(negative.any()):
        group, token = (int(i) for i in negative.nonzero()[0])
        raise TokensError(
            f"combiner {who} needs saliency of at least 0, but {tokens.name_of(group, token)} has "
            f"{float(saliency[group, token]):.4g}; shift it, or use the combiner 'saliency_only', which only ranks"
        )
    return _in_range(saliency.clamp(min=0), alpha, tokens, who)  # padding may hold anything; valid ones are not clamped


def _in_range(saliency: Tensor, alpha: float, tokens: VisualTokens, who: str) -> Tensor:
    powers: Tensor = saliency.pow(alpha)
    if alpha <= 1 or not _lost(saliency, powers, tokens).any():
        return powers
    exact = saliency.double()
    powers = exact.pow(alpha)
    if _lost(saliency, powers, tokens).any():
        most = exact.masked_fill(~tokens.valid, 0).amax(1, keepdim=True)
        powers = (exact / most.masked_fill(most == 0, 1)).pow(alpha)
    lost = _lost(saliency, powers, tokens)
    if bool(lost.any()):
        group, token = (int(i) for i in lost.nonzero()[0])
        raise TokensError(
            f"combiner {who}: saliency {float(saliency[group, token]):.4g} of {tokens.name_of(group, token)} to the "
            f"power of {alpha:g} is too small for float64 beside the group's largest ({int(lost.sum())} such tokens), "
            f"so these tokens could not be told apart; lower alpha, or scale with the saliency 'scaled'"
        )
    return powers


def _lost(saliency: Tensor, powers: Tensor, tokens: VisualTokens) -> Tensor:
    """(B, N) bool: valid tokens whose power is infinite, or so small that digits are lost."""
    small = (powers < torch.finfo(powers.dtype).tiny) & (saliency > 0)
    return (small | torch.isinf(powers)) & tokens.valid & torch.isfinite(saliency)

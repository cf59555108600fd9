"""saliency^alpha, for saliency of at least 0."""

from __future__ import annotations

from torch import Tensor

from scope_core import TokensError, VisualTokens


def power(saliency: Tensor, alpha: float, tokens: VisualTokens, who: str) -> Tensor:
    """(B, N) ``saliency ** alpha``.

    Raises:
        TokensError: a valid token's saliency is negative: its power may be undefined, or reverse the ranking.
    """
    if saliency.numel() and float(saliency.detach().amin()) >= 0:
        return saliency.pow(alpha)
    negative = (saliency < 0) & tokens.valid
    if bool(negative.any()):
        group, token = (int(i) for i in negative.nonzero()[0])
        raise TokensError(
            f"combiner {who} needs saliency of at least 0, but {tokens.name_of(group, token)} has "
            f"{float(saliency[group, token]):.4g}; shift it, or use the combiner 'saliency_only', which only ranks"
        )
    return saliency.clamp(min=0).pow(alpha)  # padding may hold anything; valid tokens are not clamped

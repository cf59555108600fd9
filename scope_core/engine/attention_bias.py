"""Attention bias: how much attention towards a kept row is raised, by the number of tokens that it stands for."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.structures.declaration import AttentionBias
from scope_core.structures.selection import Selection


def attention_bias(
    selection: Selection,
    by: AttentionBias = "merged",
    *,
    places: Tensor | None = None,
    frequencies: Tensor | None = None,
) -> Tensor:
    """The number to add to every attention score towards each row of a selection, before the softmax.

    ``log n`` for a row that stands for n tokens: one row then gets the attention of n equal rows (ToMe, arXiv
    2210.09461, proportional attention). ``restore`` adds ``log(2 - m)``, where m is the mean, over the row's tokens and
    the rotary frequencies, of the cosine of the rotation between token and row (RESTORE, arXiv 2606.01711).

    Args:
        selection: The selection.
        by: ``merged`` and ``restore`` count the tokens merged into each row; a token that several rows take counts for
            each by its share of the weights. ``nearest`` counts the tokens whose nearest kept token it is, by cosine.
            ``none`` raises nothing.
        places: (B, N) position of each token along the prompt, for ``restore``.
        frequencies: (F,) angle in radians by which each rotary pair turns from one position to the next, for
            ``restore``.

    Returns:
        (B, R) float64 in the order of `Selection.rows`; 0 for rows that no token was merged into, and for padding.

    Raises:
        TokensError: nothing was merged, or ``restore`` is given no places or frequencies.
    """
    bias = sizes_of(selection, by).log()
    if by != "restore":
        return bias
    if places is None or frequencies is None:
        raise TokensError("attention bias 'restore' compares positions: give `places` and `frequencies`")
    sources = selection.rows
    apart = (places[:, None, :] - places.gather(1, sources.clamp(min=0))[:, :, None]).abs()
    steps = torch.arange(int(apart.max()) + 1 if apart.numel() else 1, dtype=torch.float64, device=places.device)
    cosine = (steps[:, None] * frequencies.to(steps)).cos().mean(1)[apart]
    shares = _shares(selection)
    sizes = shares.sum(2)
    alike = (shares * cosine).sum(2) / sizes.clamp(min=1e-12)
    return bias + torch.where((sources >= 0) & (sizes > 0), (2 - alike).log(), torch.zeros_like(bias))


def sizes_of(selection: Selection, by: AttentionBias = "merged") -> Tensor:
    """(B, R) float64 number of tokens that each row stands for, see `attention_bias`; 1 for padding.

    Raises:
        TokensError: nothing was merged.
    """
    if by == "none":
        return torch.ones(selection.rows.shape, dtype=torch.float64, device=selection.picks.device)
    sizes = _nearest(selection) if by == "nearest" else _shares(selection).sum(2)
    return torch.where(sizes > 0, sizes, torch.ones_like(sizes))  # a row of the CLS token stands for itself


def _nearest(selection: Selection) -> Tensor:
    """(B, R) number of tokens nearest to the kept token of each row."""
    index, _ = selection.nearest()
    counts = torch.zeros(index.shape, dtype=torch.float64, device=index.device)
    counts.scatter_add_(1, index.clamp(min=0), (index >= 0).double())
    rows = selection.rows
    return counts.gather(1, rows.clamp(min=0)).masked_fill(rows < 0, 0)


def _shares(selection: Selection) -> Tensor:
    """(B, R, N) float64 share of each token that each row stands for; the shares of a token add up to 1, or to 0."""
    mixed = selection.mixed
    if mixed is None:
        raise TokensError(
            "attention bias counts the tokens merged into each row, but this selection merges none; use a merger, "
            "e.g. 'average', or count the tokens nearest to each kept one: attention_bias: nearest"
        )
    weights = mixed.weights.double().abs()
    return weights / torch.where(weights.sum(1, keepdim=True) > 0, weights.sum(1, keepdim=True), 1.0)

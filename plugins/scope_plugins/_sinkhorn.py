"""Entropic optimal transport between equally heavy tokens, in the log domain."""

from __future__ import annotations

import torch
from torch import Tensor


def sinkhorn(
    cost: Tensor, valid: Tensor, temperature: float, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The plan that moves 1 / n from each of n sources so that each of n targets gets 1 / n.

    It minimises ``sum P C + temperature * sum P log P``. Each iteration corrects the targets' sums, then the sources',
    which are therefore exact; the loop ends when the targets' sums are within ``tolerance``, relative to 1 / n.

    Args:
        cost: (B, N, N) from each source to each target.
        valid: (B, N) bool, the tokens that take part.
        temperature: Weight of the entropy, above 0; the smaller, the closer to the cheapest plan, and the slower.
        iterations: Most iterations, at least 1.
        tolerance: Largest relative error of a target's sum.

    Returns:
        (B, N, N) plan, 0 for tokens that are not valid; and (B,) largest relative error of a target's sum.
    """
    both = valid[:, :, None] & valid[:, None, :]
    kernel = (-cost / temperature).masked_fill(~both, -torch.inf)
    mass = -valid.sum(1, keepdim=True).clamp(min=1).to(cost).log()  # (B, 1), of each token
    moved = _sums(kernel, 1, valid)
    source, target, error = moved, moved, torch.full_like(mass[:, 0], torch.inf)
    for _ in range(iterations):
        goes_on = (error > tolerance)[:, None]  # a group ends where it would alone
        target = torch.where(goes_on, mass - moved, target)
        source = torch.where(goes_on, mass - _sums(kernel + target[:, None, :], 2, valid), source)
        moved = _sums(kernel + source[:, :, None], 1, valid)
        error = ((moved + target - mass).exp() - 1).masked_fill(~valid, 0).abs().amax(1)
        if float(error.max()) <= tolerance:
            break
    return (kernel + source[:, :, None] + target[:, None, :]).exp(), error


def _sums(logarithms: Tensor, axis: int, valid: Tensor) -> Tensor:
    """(B, N) logarithm of sums along an axis; 0 for tokens that are not valid."""
    return torch.where(valid, logarithms.logsumexp(axis), 0)

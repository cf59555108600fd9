"""Suppression: tokens in an order, each of which removes those later ones that are too near to it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scope_core import VisualTokens


def survivors(nearness: Tensor, threshold: Callable[[int], float], must: Tensor, stop: int) -> Tensor:
    """(k,) places that survive, in order: a maximal independent set of the graph, earliest places first.

    Args:
        nearness: (n, n), in the order of visits; entry (i, j) above the threshold: j suppresses i. -inf for no edge.
        threshold: The threshold of the k-th survivor, from 1.
        must: (n,) bool, places that are never suppressed.
        stop: Number of survivors after which no more are looked for.
    """
    alive = torch.ones(len(nearness), dtype=torch.bool, device=nearness.device)
    found: list[int] = []
    place = 0
    while place < len(alive) and len(found) < stop:
        found.append(place)
        alive &= (nearness[:, place] <= threshold(len(found))) | must
        later = alive[place + 1 :].nonzero()
        if not len(later):
            break
        place += 1 + int(later[0])
    return torch.tensor(found, dtype=torch.int64, device=nearness.device)


def within_reach(tokens: VisualTokens, group: int, index: Tensor, radius: int) -> Tensor:
    """(n, n) bool: pairs of one tile that lie at most ``radius`` rows and columns apart; none without a grid."""
    image, tile, row, col = (plane[group, index] for plane in (tokens.image, tokens.tile, tokens.row, tokens.col))
    same = (image[:, None] == image) & (tile[:, None] == tile) & (row >= 0)[:, None] & (row >= 0)
    far = (row[:, None] - row).abs().maximum((col[:, None] - col).abs())
    return same & (far <= radius)

"""A number of tokens divided among pieces by weight."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace
from itertools import accumulate, pairwise

_STEPS = 2**20
"""Sums of float32 are off by less than one of so many parts: shares that close to a whole number are that number, and
weights that close to each other are equal, so that counts depend neither on the device nor on the order of sums."""


def shares(total: int, weights: Sequence[float], least: Sequence[int], most: Sequence[int]) -> list[int]:
    """Whole numbers that add up to ``total``, about in proportion to ``weights``, between ``least`` and ``most``.

    If all weights are 0, they count as equal. Ties go to the lowest index. If ``most`` adds up to less, ``most``.
    """
    total = min(total, sum(most))
    if not sum(weights):
        weights = [1.0] * len(most)
    scale = sum(weights)
    exact = [total * weight / scale for weight in weights]
    counts = [min(max(_floor(e), low), high) for e, low, high in zip(exact, least, most, strict=True)]
    by_weight = _by_weight(weights)
    while sum(counts) < total:
        for i in [i for i in by_weight if counts[i] < most[i]][: total - sum(counts)]:
            counts[i] += 1
    while sum(counts) > total:  # only if required tokens exceed the share of their piece
        for i in [i for i in reversed(by_weight) if counts[i] > least[i]][: sum(counts) - total]:
            counts[i] -= 1
    return counts


def cumulative_shares(total: int, weights: Sequence[float], least: Sequence[int], most: Sequence[int]) -> list[int]:
    """`shares`, where what exceeds ``least`` is rounded as running sums, halves to even, as PruneSID's release does.

    What ``most`` cuts off goes to the pieces of highest weight, each filled up before the next.
    """
    total = min(total, sum(most))
    spare = max(total - sum(least), 0)
    scale = sum(weights) or 1.0
    sums = [round(spare * part) for part in accumulate(weight / scale for weight in weights)]
    own = [high - low for low, high in zip([0, *sums], sums, strict=False)]
    counts = [min(low + more, high) for low, more, high in zip(least, own, most, strict=True)]
    for i in _by_weight(weights):
        counts[i] += min(most[i] - counts[i], max(total - sum(counts), 0))
    return counts


def remainder_shares(
    total: int, weights: Sequence[float], least: Sequence[int], most: Sequence[int], base: int = 0, *, one: bool = False
) -> list[int]:
    """`shares`, rounded by largest remainder; each piece gets ``base`` first, if there are enough for all.

    What bounds take or leave is made up one by one where the count is furthest from the exact share; with ``one``, all
    that rounding leaves goes to the piece of the largest fraction, as far as it has room, then to the next.
    """
    total = min(total, sum(most))
    base = base if base * len(most) <= total else 0
    scale = sum(weights)
    rest = total - base * len(most)
    exact = [base + rest * (weight / scale if scale else 1 / len(most)) for weight in weights]
    counts = [min(max(int(e), low), high) for e, low, high in zip(exact, least, most, strict=True)]
    for i in sorted(range(len(counts)), key=lambda i: (int(exact[i]) - exact[i], i)) if one else ():
        counts[i] += min(most[i] - counts[i], max(total - sum(counts), 0))
    short = [(counts[i] - exact[i], i) for i in range(len(counts)) if counts[i] < most[i]]
    heapify(short)
    for _ in range(total - sum(counts)):
        i = short[0][1]
        counts[i] += 1
        heapreplace(short, (counts[i] - exact[i], i)) if counts[i] < most[i] else heappop(short)
    long = [(exact[i] - counts[i], -i) for i in range(len(counts)) if counts[i] > least[i]]
    heapify(long)
    for _ in range(sum(counts) - total):
        i = -long[0][1]
        counts[i] -= 1
        heapreplace(long, (exact[i] - counts[i], -i)) if counts[i] > least[i] else heappop(long)
    return counts


def _floor(share: float) -> int:
    return int(share * (1 + 1 / _STEPS))


def _by_weight(weights: Sequence[float]) -> list[int]:
    """Pieces from the highest weight on, ties to the lowest index."""
    near = max(weights, default=0) / _STEPS
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    steps = [weights[one] - weights[other] > near for one, other in pairwise(order)]
    return [i for _, i in sorted(zip(accumulate([0, *steps]), order, strict=False))]

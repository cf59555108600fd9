"""Shares rounded by largest remainder, against one search for each token."""

from __future__ import annotations

import random

import pytest

from scope_plugins.selector._shares import remainder_shares


def searched(total: int, weights: list[float], least: list[int], most: list[int], base: int) -> list[int]:
    """`remainder_shares`, looking at all pieces again for every token."""
    total, pieces = min(total, sum(most)), range(len(most))
    base = base if base * len(most) <= total else 0
    scale, rest = sum(weights), total - base * len(most)
    exact = [base + rest * (weight / scale if scale else 1 / len(most)) for weight in weights]
    counts = [min(max(int(e), low), high) for e, low, high in zip(exact, least, most, strict=True)]
    while sum(counts) < total:
        counts[max((i for i in pieces if counts[i] < most[i]), key=lambda i: (exact[i] - counts[i], -i))] += 1
    while sum(counts) > total:
        counts[max((i for i in pieces if counts[i] > least[i]), key=lambda i: (counts[i] - exact[i], i))] -= 1
    return counts


@pytest.mark.parametrize("seed", range(40))
def test_every_token_goes_where_the_count_is_furthest_from_the_share(seed: int) -> None:
    draw = random.Random(seed)
    pieces = draw.randint(1, 12)
    most = [draw.randint(0, 30) for _ in range(pieces)]
    least = [draw.randint(0, high) for high in most]
    weights = [draw.choice([0.0, 1.0, 1.0, 5.0, draw.random()]) for _ in range(pieces)]
    total = draw.randint(sum(least), sum(most) + 3)
    base = draw.randint(0, 3)
    found = remainder_shares(total, weights, least, most, base)
    assert found == searched(total, weights, least, most, base)
    assert sum(found) == min(total, sum(most))

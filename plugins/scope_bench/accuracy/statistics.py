"""Intervals and comparisons for answers in clusters (several questions about the same scene).

Answers about the same scene are correlated, so bootstrap draws are of scenes, not of questions. All methods answered
the same questions, so differences are paired in every draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LEVEL = 0.95
DRAWS = 10_000
MIN_GROUPS = 20
"""With fewer groups, percentile intervals are too narrow to separate methods."""


class Bootstrap:
    """Draws of clusters with replacement, the same for all statistics.

    Args:
        clusters: The cluster of each question, by name.
        draws: Number of draws.
        seed: Seed of the draws.

    Attributes:
        weights: (draws, G) number of times that each cluster was drawn.
    """

    def __init__(self, clusters: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> None:
        names = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
        self.cluster = torch.tensor([names[name] for name in clusters])
        self.count = len(names)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(self.count, (draws, self.count), generator=generator)
        ones = torch.ones_like(drawn, dtype=torch.float64)
        self.weights = torch.zeros(draws, self.count, dtype=torch.float64).scatter_add(1, drawn, ones)

    def shares(self, values: Tensor, among: Tensor | None = None) -> Tensor:
        """(draws,) mean of ``values`` (Q,) over the questions in ``among`` (Q,) bool; NaN for draws without any."""
        chosen = torch.ones_like(values) if among is None else among.to(values)
        return self._drawn(values * chosen) / self._drawn(chosen)

    def _drawn(self, values: Tensor) -> Tensor:
        sums = torch.zeros(self.count, dtype=torch.float64).index_add(0, self.cluster, values.double())
        return self.weights @ sums


def interval(draws: Tensor, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of bootstrap draws; draws that are NaN or infinite are ignored."""
    draws = draws[torch.isfinite(draws)]
    if not len(draws):
        return math.nan, math.nan
    low, high = torch.quantile(draws, torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)).tolist()
    return low, high


def clear_of_zero(draws: Tensor, comparisons: int = 1) -> bool:
    """True if the interval of a difference excludes 0, at a level corrected for several comparisons (Bonferroni)."""
    low, high = interval(draws, 1 - (1 - LEVEL) / comparisons)
    return low > 0 or high < 0


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p value of the wins and losses if both were equally likely; ties are ignored."""
    n, fewer = wins + losses, min(wins, losses)
    tail: int = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / int(2**n))


def tiers(names: Sequence[str], separated: Callable[[str, str], bool]) -> list[list[str]]:
    """``names``, best first, in groups without a ranking inside.

    A group has the methods that are not separated from its first; the first separated method begins the next group.
    """
    groups: list[list[str]] = []
    for name in names:
        if groups and not separated(groups[-1][0], name):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups

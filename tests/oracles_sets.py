"""Slow, obvious float64 references for the coverage functions: each f(A) straight from its definition.

As in `oracles`: nothing here imports the package under test or torch, and nothing is incremental.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Scores = Callable[[list[int]], Sequence[float]]
"""The score of every token, given the picks so far."""


def facility_location(S: Array, kept: Sequence[int]) -> float:
    """``sum_i max(0, max_j S_ij)``."""
    return math.fsum(max([0.0] + [S[i, j] for j in kept]) for i in range(len(S)))


def modular(S: Array, kept: Sequence[int]) -> float:
    """``|A|``."""
    return float(len(kept))


def log_det(S: Array, kept: Sequence[int], ridge: float = 0.0) -> float:
    """``log det(S_A + ridge I)``; 0 for the empty set."""
    inner = S[np.ix_(kept, kept)] + ridge * np.eye(len(kept))
    return float(np.linalg.slogdet(inner)[1]) if len(kept) else 0.0


def graph_cut(S: Array, kept: Sequence[int], balance: float = 2.0) -> float:
    """``b sum_{i in V, j in A} S_ij - sum_{i, j in A} S_ij``."""
    whole = math.fsum(S[i, j] for i in range(len(S)) for j in kept)
    return balance * whole - math.fsum(S[i, j] for i in kept for j in kept)


def saturated(S: Array, kept: Sequence[int], share: float = 0.1) -> float:
    """``sum_i min(sum_{j in A} S_ij, share sum_k S_ik)``."""
    return math.fsum(min(math.fsum(S[i, j] for j in kept), share * math.fsum(S[i])) for i in range(len(S)))


def theta_cover(S: Array, kept: Sequence[int], theta: float = 0.8) -> float:
    """``|{i : max_j S_ij >= theta}|``."""
    return float(sum(any(S[i, j] >= theta for j in kept) for i in range(len(S))))


def text_facility_location(T: Array, kept: Sequence[int]) -> float:
    """``mean_t max(0, max_j T_tj)`` over the rows of ``T`` (M, N); 0 without rows."""
    best = [max([0.0] + [row[j] for j in kept]) for row in T]
    return math.fsum(best) / len(best) if best else 0.0


def softmax_rows(matrix: Array, temperature: float) -> Array:
    """Each row of ``matrix / temperature`` as shares that add up to 1."""
    made = np.empty_like(matrix)
    for i, row in enumerate(matrix):
        top = max(row)
        powers = [math.exp((x - top) / temperature) for x in row]
        made[i] = np.array(powers) / math.fsum(powers)
    return made


def cosines_between(rows: npt.ArrayLike, columns: npt.ArrayLike) -> Array:
    """(M, N) cosine of every row vector to every column vector; 0 for vectors of zeros."""
    a, b = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
    made = np.zeros((len(a), len(b)))
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            size = math.sqrt(math.fsum(left * left)) * math.sqrt(math.fsum(right * right))
            made[i, j] = math.fsum(left * right) / size if size else 0.0
    return made


def greedy(scores: Scores, count: int, k: int) -> list[int]:
    """``k`` rounds of: the highest score among the tokens that are left, the lowest index where several are highest."""
    picks: list[int] = []
    for _ in range(k):
        now = scores(picks)
        picks.append(max((j for j in range(count) if j not in picks), key=lambda j: (now[j], -j)))
    return picks


def regret(scores: Scores, picks: Sequence[int], count: int) -> float:
    """The most that one of somebody else's picks fell short of the best, given that party's earlier picks."""
    worst = 0.0
    for step, pick in enumerate(picks):
        now = scores(list(picks[:step]))
        worst = max(worst, max(now[j] for j in range(count) if j not in picks[:step]) - now[pick])
    return worst

"""Slow float64 references for methods that select by diversity, text or change: CDPruner, MMTok, EVS, pooling.

Written from the papers' formulas, apart from the package under test: every step looks at everything again. The scores
are functions of the picks so far, for `oracles_sets.greedy` and `oracles_sets.regret`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from oracles_sets import Array, Scores, cosines_between, softmax_rows


def relevance(
    similarity: npt.ArrayLike, offset: float = 0.0, low: float | None = None, high: float | None = None
) -> Array:
    """CDPruner (2506.10967): mean over T chunks of minus the cosine (T, N), min-max normalised.

    The release takes minimum and maximum over all crops at once, and adds 1e-6 above the line.
    """
    raw = np.array([math.fsum(-column) / len(column) for column in np.asarray(similarity, dtype=np.float64).T])
    low, high = raw.min() if low is None else low, raw.max() if high is None else high
    return (raw - low + offset) / (high - low)


def conditional_variances(kernel: Array) -> Scores:
    """DPP greedy: ``det(L_{A + j}) / det(L_A)``, which is what j's variance A leaves unexplained, from scratch."""

    def scores(picks: list[int]) -> Sequence[float]:
        if not picks:
            return kernel.diagonal()
        solved = np.linalg.solve(kernel[np.ix_(picks, picks)], kernel[picks])
        return kernel.diagonal() - (kernel[picks] * solved).sum(0)

    return scores


def cdpruner_scores(cosines: Array, relevances: Array) -> Scores:
    """Kernel ``r_i S_ij r_j``."""
    kernel = np.array(
        [[relevances[i] * row[j] * relevances[j] for j in range(len(row))] for i, row in enumerate(cosines)]
    )
    return conditional_variances(kernel)


def coverage_rows(rows: Array) -> Scores:
    """Facility location of any rows (M, N): ``g_j = sum_i max(0, C_ij - best_i)``, best from 0."""

    def scores(picks: list[int]) -> Sequence[float]:
        best = rows[:, picks].max(1, initial=0.0)
        return np.maximum(rows - best[:, None], 0.0).sum(0)

    return scores


def mmtok_scores(
    text: npt.ArrayLike,
    projected: npt.ArrayLike,
    tower_cosines: Array,
    tv: float = 0.02,
    vv: float = 0.2,
    alpha: float = 0.5,
) -> Scores:
    """MMTok (2508.18264): coverage of all rows of ``C = [softmax(ZX / tau_t) / m ; alpha softmax(XX / tau_v) / n]``."""
    words = softmax_rows(cosines_between(text, projected), tv)
    tokens = softmax_rows(tower_cosines, vv)
    return coverage_rows(np.vstack([words / len(words), alpha * tokens / len(tokens)]))


def evs_kept(frames: npt.ArrayLike, keep_ratio: float) -> list[int]:
    """EVS (2510.14624): frames (T, N, D) -> indices into the T * N tokens, ascending.

    The first frame is kept, and of the others those that differ most from the token in their place one frame before.
    """
    frames = np.asarray(frames, dtype=np.float64)
    count, size, _ = frames.shape
    change = [math.inf] * size
    for t in range(1, count):
        for n in range(size):
            now, before = frames[t, n], frames[t - 1, n]
            length = math.sqrt(math.fsum(now * now)) * math.sqrt(math.fsum(before * before))
            change.append(1.0 - math.fsum(now * before) / length)
    keep = max(size, math.floor(count * size * keep_ratio))
    return sorted(sorted(range(count * size), key=lambda i: (-change[i], i))[:keep])


def pooled(image: npt.ArrayLike, rows: int, cols: int) -> Array:
    """(rows * cols, D): mean of each cell of a (H, W, D) image, from floor(i H / rows) to ceil((i + 1) H / rows)."""
    grid = np.asarray(image, dtype=np.float64)
    height, width, _ = grid.shape
    made = []
    for i in range(rows):
        for j in range(cols):
            top, bottom = math.floor(i * height / rows), math.ceil((i + 1) * height / rows)
            left, right = math.floor(j * width / cols), math.ceil((j + 1) * width / cols)
            made.append(grid[top:bottom, left:right].reshape(-1, grid.shape[2]).mean(0))
    return np.array(made)

"""Oracles of the methods that prune inside the language model: float64, plain loops, no part of the project.

Written from the formulas of FastV (arXiv 2403.06764), PyramidDrop (2410.17247), SparseVLM (2410.04417) and DART
(2502.11494), and from what their releases do where that is another thing. Ties go to the lowest index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def top(scores: Array, count: int) -> list[int]:
    """Indices of the highest scores, best first."""
    return sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:count]


def head_mean(attention: Array, count: int) -> list[int]:
    """FastV and PyramidDrop: attention (H, N) of one query row, mean over heads, the highest."""
    return top(attention.astype(float).mean(0), count)


def softmax(row: Array) -> Array:
    made = np.exp(row - row.max())
    return made / made.sum()


def raters(vision: Array, text: Array) -> list[int]:
    """SparseVLM: text tokens (M, D) that visual tokens (F, D) find more similar than the average one."""
    share = np.zeros(len(text))
    for token in vision.astype(float):
        share += softmax(np.array([token @ word for word in text.astype(float)]))
    share /= len(vision)
    chosen = [i for i in range(len(text)) if share[i] > share.mean()]
    return chosen or list(range(len(text)))


def rated(attention: Array, vision: Array, text: Array) -> Array:
    """SparseVLM: (N,) attention (H, M, N) from the raters, mean over heads and raters."""
    rows = attention.astype(float).mean(0)
    return np.mean([rows[i] for i in raters(vision, text)], axis=0)


def clusters(features: Array, count: int) -> list[int]:
    """Density peaks: which cluster each of (N, D) belongs to, the best centre's being 0."""
    points = features.astype(float)
    size, width = points.shape
    distance = [[float(np.linalg.norm(a - b)) / width**0.5 for b in points] for a in points]
    density = [np.exp(-np.mean([d * d for d in sorted(row)[:count]])) for row in distance]
    farthest = max(max(row) for row in distance)
    apart = []
    for i in range(size):
        denser = [j for j in range(size) if density[j] > density[i] or (density[j] == density[i] and j < i)]
        apart.append(min((distance[i][j] for j in denser), default=farthest))
    centres = top(np.array([a * d for a, d in zip(apart, density, strict=True)]), count)
    home = [min(range(count), key=lambda c: (distance[centres[c]][i], c)) for i in range(size)]
    for cluster, centre in enumerate(centres):
        home[centre] = cluster
    return home


def recycled(scores: Array, kept: Sequence[int], share: float = 0.3) -> list[int]:
    """SparseVLM: of the tokens that go, the share that comes back, and one more, best first."""
    gone = [j for j in range(len(scores)) if j not in kept]
    best = top(np.array([scores[j] for j in gone]), int(len(gone) * share) + 1)
    return [gone[i] for i in best]


def dart(
    keys: Array,
    text_keys: Array,
    states: Array,
    text_states: Array,
    keep: int,
    *,
    pivots: int = 4,
    text_pivots: int = 4,
    offset: int | None = None,
) -> list[int]:
    """DART's picks: the image's pivots, then what each pivot takes.

    Args:
        keys: (H, N, C) of the image's tokens.
        text_keys: (H, M, C) of the text's.
        states: (N, D) that are compared.
        text_states: (M, D) likewise.
        keep: How many in all.
        pivots: From the image.
        text_pivots: From the text.
        offset: Where the image begins in the prompt, for the release's order of pivots: that of a set of positions.
    """
    count = keys.shape[1]
    own = top(np.abs(keys.astype(float)).sum((0, 2)), min(pivots, keep))
    words = top(np.abs(text_keys.astype(float)).sum((0, 2)), text_pivots)
    turns: list[tuple[bool, int]] = [(True, j) for j in own] + [(False, i) for i in words]
    if offset is not None:
        positions = {offset + j: (True, j) for j in own} | {offset + count + i: (False, i) for i in words}
        listed = [offset + j for j in own] + [offset + count + i for i in words]
        turns = [positions[p] for p in set(listed)]
    left, picks = [j for j in range(count) if j not in own], list(own)
    each, more = divmod(keep - len(own), len(turns))
    unit = lambda v: v / max(float(np.linalg.norm(v)), 1e-300)  # noqa: E731
    for turn, (image, index) in enumerate(turns):
        pivot = unit((states if image else text_states)[index].astype(float))
        least = sorted(left, key=lambda j: (float(unit(states[j].astype(float)) @ pivot), j))[: each + (turn < more)]
        picks += least
        left = [j for j in left if j not in least]
    return picks


def average_counts(full: int, layers: Sequence[int], average: int) -> list[int]:
    """Counts behind each stage for the largest factor whose average fits, by trying every factor at which one changes.

    Args:
        full: Tokens before the first stage.
        layers: How many layers come before the first stage, and behind each.
        average: Most tokens averaged over all layers.
    """
    stages = range(1, len(layers))
    factors = sorted({(c / full) ** (1 / s) for s in stages for c in range(1, full + 1)})
    best: list[int] = [1] * (len(layers) - 1)
    for factor in factors:
        counts = [max(int(full * factor**s + 1e-9), 1) for s in stages]
        if sum(n * length for n, length in zip([full, *counts], layers, strict=True)) <= average * sum(layers):
            best = counts
    return best

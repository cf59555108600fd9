"""Calibration, and methods that use it, as plainly as they can be written: float64, lists, loops. No scope.

Written from the formulas. Ties go to the lowest index.
"""

from __future__ import annotations

import itertools

import numpy as np

Array = np.ndarray


def ranked(scores: Array) -> list[int]:
    return sorted(range(len(scores)), key=lambda j: (-scores[j], j))


def hawk(queries: Array, keys: Array, weights: list[float]) -> Array:
    """HAWK, equations 4 to 7: (N,) from (H, M, C) queries of the text and (G, N, C) keys of the image."""
    heads, _, width = queries.shape
    shared, total = heads // len(keys), np.zeros(keys.shape[1])
    for head in range(heads):
        mine = np.zeros(keys.shape[1])
        for j in range(keys.shape[1]):
            mine[j] = np.mean([query @ keys[head // shared][j] / np.sqrt(width) for query in queries[head]])
        total += weights[head] / sum(weights) * mine / np.sqrt((mine**2).sum())
    return total


def head_weights(maps: Array) -> list[float]:
    """(images, H, N): 1 minus the mean correlation of a head's maps of any two images, divided by the sum."""
    found = []
    for head in range(maps.shape[1]):
        pairs = list(itertools.combinations(maps[:, head], 2))
        found.append(1 - float(np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs])))
    return [value / sum(found) for value in found]

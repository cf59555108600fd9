"""Calibration, and methods inside the language model, as plainly as they can be written. No scope.

Float64, lists and loops. Written from the formulas. Ties go to the lowest index.
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


def value_relevance(values: Array, text: Array, prompt: Array, seeds: float) -> Array:
    """IVC-Prune: (N,) from (H, N, C) values of the image, (H, M, C) of the text after it, (H, L, C) of the prompt."""

    def rates(row: list[Array]) -> Array:
        """(N,) of one token, given by its value in each head."""
        found = np.zeros(values.shape[1])
        for head, value in enumerate(row):
            scale = np.sqrt(len(value))
            whole = sum(np.exp(value @ other / scale) for other in prompt[head])
            found += [np.exp(value @ mine / scale) / whole / len(values) for mine in values[head]]
        return found

    asked = [rates([head[i] for head in text]) for i in range(text.shape[1])]
    best = ranked(np.mean(asked, axis=0))[: max(1, round(seeds * values.shape[1]))]
    return np.mean([*asked, *(rates([head[j] for head in values]) for j in best)], axis=0)


def union_left(steps: list[tuple[Array, int]]) -> list[int]:
    """The best of each step's scores among the tokens that no step before has taken."""
    found: list[int] = []
    for scores, count in steps:
        found += [j for j in ranked(scores) if j not in found][:count]
    return found

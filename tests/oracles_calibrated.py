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


def global_query(queries: Array, keys: Array, hidden: Array) -> Array:
    """PACT: (N,) from (H, N, C) queries, (G, N, C) keys and (N, D) hidden states of the visual tokens."""
    heads, count, width = queries.shape
    total = np.zeros(count)
    for head in range(heads):
        mean = queries[head].mean(0)
        fit = np.exp([mean @ key / np.sqrt(width) for key in keys[head // (heads // len(keys))]])
        total += fit / fit.sum() / heads
    return total * np.sqrt((hidden**2).sum(1))


def distances(vectors: Array) -> Array:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = np.maximum(1 - unit @ unit.T, 0)
    np.fill_diagonal(found, 0)
    return found


def pact(scores: Array, vectors: Array, cutoff: float = 0.21) -> dict[int, set[int]]:
    """PACT: the centres, densest first, each with the tokens that are merged into it."""
    apart, listed = distances(vectors), ranked(scores)[: int(0.55 * len(scores))]
    dense = {j: sum(np.exp(-((apart[j, i] / 2) ** 2)) for i in listed) for j in listed}
    centres: list[int] = []
    for j in sorted(listed, key=lambda j: (-dense[j], j)):
        if all(apart[j, c] >= cutoff for c in centres):
            centres.append(j)
    groups: dict[int, set[int]] = {c: {c} for c in centres}
    for j in range(len(scores)):
        home = min(centres, key=lambda c: (apart[j, c], c))
        if j not in groups and apart[j, home] <= 1.5 * cutoff:
            groups[home].add(j)
    return groups


def logistic_counts(full: int, starts: list[int], layers: int, average: int, slope: float, centre: float) -> list[int]:
    """AutoPrune's curve: counts by the largest factor at which a count changes and whose average still fits."""
    heights = [1 / (1 + np.exp(min(slope * (start - centre), 500.0))) for start in starts]
    ends = [*starts[1:], layers]
    best = [1] * len(starts)
    for factor in sorted(count / full / height for count in range(1, full + 1) for height in heights):
        counts = [max(int(full * min(1.0, factor * (1 + 1e-9) * height)), 1) for height in heights]
        passed = full * starts[0] + sum(n * (end - start) for n, start, end in zip(counts, starts, ends, strict=True))
        if passed <= average * layers:
            best = counts
    return best

"""Encoder-side methods as plainly as they can be written: float64, lists, one image at a time. Imports no scope.

Written from the papers' formulas and from what the releases do, not from the parts. Ties go to the lowest index.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

Array = np.ndarray


def ranked(scores: Array, among: list[int] | None = None) -> list[int]:
    """Indices from the highest score down."""
    return sorted(range(len(scores)) if among is None else among, key=lambda i: (-scores[i], i))


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def most_similar(vectors: Array, token: int, among: list[int]) -> int:
    """The one of ``among`` whose vector has the highest cosine to the token's."""
    return max(among, key=lambda j: (cosine(vectors[token], vectors[j]), -j))


def visionzip(attention: Array, keys: Array, features: Array, cls: Array, rows: int) -> tuple[list[int], Array]:
    """Kept tokens in the order of the rows (CLS is row 0 and none of them), and the rows (rows, D).

    Args:
        attention: (N,) from CLS.
        keys: (N, C) mean over heads.
        features: (N, D).
        cls: (D,).
        rows: Rows for the language model; 27 of 32 are CLS and dominant tokens, 5 of 32 contextual ones.
    """
    picks = rows - 1
    contextual = picks * 5 // 32
    dominant = picks * 27 // 32
    if contextual + dominant < picks:  # the larger remainder gets it, the dominant ones where they are equal
        if (picks * 27) % 32 >= (picks * 5) % 32:
            dominant += 1
        else:
            contextual += 1
    first = sorted(ranked(attention)[:dominant])
    rest = [i for i in range(len(attention)) if i not in first]
    targets = [rest[i * (len(rest) // contextual)] for i in range(contextual)] if contextual else []
    taken: dict[int, list[int]] = {target: [] for target in targets}
    for token in rest:
        if token not in taken and targets:
            taken[most_similar(keys, token, targets)].append(token)
    made = [cls, *(features[i] for i in first)]
    for target in targets:
        others = taken[target]
        made.append(features[target] + (sum(features[j] for j in others) / len(others) if others else 0))
    return first + targets, np.array(made)


def vispruner(attention: Array, features: Array, keep: int, per_round: int = 8) -> list[int]:
    """Kept tokens: important ones from the highest attention down, then the line of diverse ones that is left."""
    order = ranked(attention)
    important, line = order[: keep // 2], order[keep // 2 :]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    while len(line) > keep - keep // 2:
        drop = min(per_round, len(line) - (keep - keep // 2), len(line) // 2)
        even, odd = line[::2], line[1::2]
        likeness = (unit[even] @ unit[odd].T).max(1)
        by_likeness = sorted(range(len(even)), key=lambda i: (-likeness[i], i))
        line = [even[i] for i in by_likeness[drop:]] + odd
    return important + line


def joint_attention(query: Array, keys: Array) -> Array:
    """(N,) attention from CLS to each patch with one head of full width.

    Args:
        query: (H, d) of CLS.
        keys: (H, 1 + N, d), CLS first.
    """
    flat_query = query.reshape(-1)
    flat_keys = keys.transpose(1, 0, 2).reshape(keys.shape[1], -1)
    logits = flat_keys @ flat_query / len(flat_query) ** 0.5
    weights = np.exp(logits - logits.max())
    return weights[1:] / weights.sum()


def iqr_outliers(values: Array) -> int:
    """How many values lie above the upper fence; numpy interpolates quartiles linearly."""
    low, high = np.percentile(values, 25), np.percentile(values, 75)
    return int((values > high + 1.5 * (high - low)).sum())


def prumerge_rows(attention: Array, keys: Array, features: Array, picks: list[int], neighbours: int = 32) -> Array:
    """(K + 1, D): each pick with its neighbours, weighted by attention; last the sum of all that were not picked."""
    made = []
    for pick in picks:
        others = [j for j in range(len(attention)) if j != pick]
        near = sorted(others, key=lambda j: (-cosine(keys[pick], keys[j]), j))[:neighbours]
        made.append(features[pick] + sum(attention[j] * features[j] for j in near))
    rest = [j for j in range(len(attention)) if j not in picks]
    made.append(sum((attention[j] * features[j] for j in rest), np.zeros(features.shape[1])))
    return np.array(made)


def prumerge_plus_even(attention: Array) -> list[int]:
    """Outliers, and of what is left three times as many at an even stride."""
    seeds = iqr_outliers(attention)
    first = ranked(attention)[:seeds]
    rest = [i for i in range(len(attention)) if i not in first]
    return first + [rest[i * (len(rest) // (3 * seeds))] for i in range(3 * seeds)]


def prumerge_plus_released(attention: Array) -> list[int]:
    """Outliers, then every s-th token that is none, s a third of tokens per outlier; the last token never."""
    seeds = iqr_outliers(attention)
    first = ranked(attention)[:seeds]
    step = int(int(len(attention) / seeds) / 3)
    return first + [i for i in range(0, len(attention) - 1, step) if i not in first]


def hiprune(middle: Array, deep: Array, keep: int, side: int, share: float = 0.1, wrap: bool = False) -> list[int]:
    """Kept tokens in raster order of a ``side`` x ``side`` grid."""
    kept: set[int] = set()
    for anchor in ranked(middle)[: round(keep * share / 5)]:
        row, col = divmod(anchor, side)
        kept.add(anchor)
        if wrap:
            kept |= {min(max(anchor + by, 0), side * side - 1) for by in (-1, 1, -side, side)}
        else:
            near = ((row, col - 1), (row, col + 1), (row - 1, col), (row + 1, col))
            kept |= {r * side + c for r, c in near if 0 <= r < side and 0 <= c < side}
    for token in ranked(deep):
        if len(kept) == keep:
            break
        kept.add(token)
    return sorted(kept)


def holov(attention: Array, features: Array, keep: int, chunks: int = 16, weight: float = 0.09) -> list[int]:
    """Kept tokens chunk by chunk, in each from the highest attention down (in raster order if all of it is kept)."""
    size, more = divmod(len(attention), chunks)
    bounds = [0]
    for chunk in range(chunks):
        bounds.append(bounds[-1] + size + (chunk < more))
    members = [list(range(a, b)) for a, b in pairwise(bounds)]
    scores = []
    for chunk in members:
        unit = features[chunk] / np.linalg.norm(features[chunk], axis=1, keepdims=True)
        alike = unit @ unit.T
        variance = np.array([np.delete(row, i).var() for i, row in enumerate(alike)])
        mine = attention[chunk]
        scale = mean_of(mine) / mean_of(variance) if variance.any() else 0
        scores.append((mine + weight * variance * scale).mean())
    weights = np.array(scores) / sum(scores)
    counts = [min(int(weight * keep), len(chunk)) for weight, chunk in zip(weights, members, strict=True)]
    while sum(counts) < keep:
        for i in ranked(weights):
            if sum(counts) < keep and counts[i] < len(members[i]):
                counts[i] += 1
    kept = []
    for chunk, count in zip(members, counts, strict=True):
        kept += chunk if count == len(chunk) else ranked(attention, chunk)[:count]
    return kept


def mean_of(values: Array) -> float:
    return float(np.abs(values).mean())


def tome(keys: Array, features: Array, keep: int, evens_first: bool) -> tuple[list[int], Array]:
    """Tokens left in the order of the last line, and the mean features of what was folded into each.

    Args:
        keys: (N, C) mean over heads.
        features: (N, D).
        keep: Tokens left.
        evens_first: The line after a round is the even places that stay, most alike first, then the odd places; else
            the places stay as they are.
    """
    line = [[i] for i in range(len(keys))]  # a token, then those folded into it
    while len(line) > keep:
        fold = min(len(line) - keep, len(line) // 2)
        means = np.array([keys[group].mean(0) for group in line])
        unit = means / np.linalg.norm(means, axis=1, keepdims=True)
        even, odd = list(range(0, len(line), 2)), list(range(1, len(line), 2))
        alike = unit[even] @ unit[odd].T
        order = sorted(range(len(even)), key=lambda i: (-alike[i].max(), i))
        for i in order[:fold]:
            line[odd[int(alike[i].argmax())]] = line[odd[int(alike[i].argmax())]] + line[even[i]]
        if evens_first:
            line = [line[even[i]] for i in order[fold:]] + [line[i] for i in odd]
        else:
            gone = {even[i] for i in order[:fold]}
            line = [group for i, group in enumerate(line) if i not in gone]
    return [group[0] for group in line], np.array([features[group].mean(0) for group in line])

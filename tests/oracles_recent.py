"""Methods of 2025 and 2026 as plainly as they can be written: float64, one image at a time. Imports no scope.

Written from the papers' formulas. Ties go to the lowest index.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def cosines(x: Array) -> Array:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def ranked(score: Array) -> list[int]:
    return sorted(range(len(score)), key=lambda i: (-score[i], i))


def adts(x: Array, attention: Array, keep: int) -> list[int]:
    """The first pick's distance is that to its nearest neighbour."""
    distance = 1 - cosines(x)
    np.fill_diagonal(distance, np.inf)
    picks = [int((distance.min(0) * attention).argmax())]
    while len(picks) < keep:
        score = distance[picks].min(0) * attention
        score[picks] = -1
        picks.append(int(score.argmax()))
    return picks


def scope_plus(keys: Array, weights: Array, keep: int) -> list[int]:
    """Coverage of every row, times its weight, by tokens with like keys; the square root of a pick's weight counts."""
    similarity = cosines(keys)
    covered = np.zeros(len(keys))
    picks: list[int] = []
    while len(picks) < keep:
        gains = (weights[:, None] * np.maximum(similarity - covered[:, None], 0)).sum(0)
        score = gains * np.sqrt(weights)
        score[picks] = -1
        picks.append(int(score.argmax()))
        covered = np.maximum(covered, similarity[:, picks[-1]])
    return picks


def prompt_relevance(text: Array, x: Array, temperature: float) -> Array:
    """(N,) for each word, a softmax of its cosines over tokens; added up over words."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (text, x)]
    mass = np.exp(unit[0] @ unit[1].T / temperature)
    total: Array = (mass / mass.sum(1, keepdims=True)).sum(0)
    return total


def propagated(x: Array) -> Array:
    """(N,) norms passed on five times along edges between similar tokens, over the number of edges."""
    edges = cosines(x) >= 0.5
    passed = np.where(edges, np.exp((cosines(x) - 1) / 0.03), 0)
    passed /= passed.sum(1, keepdims=True)
    made: Array = np.linalg.norm(x, axis=1) @ np.linalg.matrix_power(passed, 5) / edges.sum(1)
    return made


def gprune(x: Array, keep: int) -> list[int]:
    return ranked(propagated(x))[:keep]


def otprune(x: Array, keep: int) -> list[int]:
    channels = x / np.linalg.norm(x, axis=0)
    gram = channels @ channels.T
    kernel = np.eye(len(x)) + 0.01 * gram @ gram.T
    picks: list[int] = []
    while len(picks) < keep:
        gains = np.diag(kernel).copy()
        if picks:
            across = kernel[picks]
            gains -= (across * np.linalg.solve(kernel[np.ix_(picks, picks)], across)).sum(0)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
    return picks


def reconstruction(x: Array, basis: int = 10) -> tuple[list[int], Array]:
    """Basis tokens in order, and the distance of every token from its ridge regression on them."""
    nearest, found = np.linalg.norm(x - x.mean(0), axis=1), []
    for _ in range(basis):
        found.append(int(nearest.argmax()))
        distance = np.linalg.norm(x - x[found[-1]], axis=1)
        nearest = distance if len(found) == 1 else np.minimum(nearest, distance)
    weights = np.linalg.solve(x[found] @ x[found].T + 1e-5 * np.eye(basis), x[found] @ x.T)
    return found, np.linalg.norm(x - weights.T @ x[found], axis=1)


def apet(x: Array, keep: int) -> list[int]:
    found, errors = reconstruction(x)
    return found[:keep] + [token for token in ranked(errors) if token not in found][: max(keep - len(found), 0)]


def smoothed(values: Array, side: int) -> Array:
    """A 3 x 3 Gaussian of deviation 1 over the grid, which is mirrored at its border."""
    padded = np.pad(values.reshape(side, side), 1, mode="reflect")
    window = np.exp(-(np.add.outer(np.arange(-1, 2) ** 2, np.arange(-1, 2) ** 2)) / 2)
    window /= window.sum()
    return np.array([(padded[r : r + 3, c : c + 3] * window).sum() for r in range(side) for c in range(side)])


def of_words(words: Array) -> Array:
    """(N,) relevance to the half of the words (L, N) of lowest entropy."""
    logits = -100 * words
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    entropy = -(share * np.log(share + 1e-300)).sum(1)
    kept = ranked(-entropy)[: max(len(words) // 2, 1)]
    weights = np.exp(-(entropy[kept] - entropy[kept].min()) / 0.01)
    made: Array = (weights / weights.sum()) @ -words[kept]
    return made


def eadp(x: Array, text: Array, words: Array, keep: int, side: int) -> list[int]:
    raw = 0.5 * (-text).mean(0) + 0.5 * of_words(words)
    weights = smoothed((raw - raw.min() + 1e-6) / (raw.max() - raw.min()), side)
    likeness, covered, picks = (1 + cosines(x)) / 2, np.zeros(len(x)), []
    while len(picks) < keep:
        gains = weights @ np.maximum(likeness - covered[:, None], 0)
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = np.maximum(covered, likeness[:, picks[-1]])
    return picks

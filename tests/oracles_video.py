"""Methods for videos, as plainly as they can be written: float64, loops, features of (F, N, D). No scope.

Written from the papers' formulas, not from the parts. Kept tokens are pairs (frame, token); ties go to the earliest.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

Array = np.ndarray
Kept = list[tuple[int, int]]


def cosine(a: Array, b: Array) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def divided(total: int, exact: list[float], least: int, most: list[int]) -> list[int]:
    """Whole numbers that add up to ``total``, by largest remainder of ``exact``, between ``least`` and ``most``."""
    counts = [min(max(math.floor(e), least), m) for e, m in zip(exact, most, strict=True)]
    while sum(counts) != total:
        up = sum(counts) < total
        room = [f for f in range(len(counts)) if (counts[f] < most[f] if up else counts[f] > least)]
        best = sorted(room, key=lambda f: (counts[f] - exact[f], f) if up else (exact[f] - counts[f], -f))[0]
        counts[best] += 1 if up else -1
    return counts


def best(scores: list[Array], counts: list[int]) -> Kept:
    return sorted(
        (frame, token)
        for frame, (score, count) in enumerate(zip(scores, counts, strict=True))
        for token in sorted(range(len(score)), key=lambda j, score=score: (-score[j], j))[:count]
    )


def softmax(values: list[float]) -> list[float]:
    raised = [math.exp(value - max(values)) for value in values]
    return [value / sum(raised) for value in raised]


def vidcom2(video: list[Array], keep: int) -> Kept:
    everything = np.concatenate(video)
    order = np.argsort(everything.var(0), kind="stable")[: everything.shape[1] // 2]
    units = [frame[:, order] / np.linalg.norm(frame[:, order], axis=1, keepdims=True) for frame in video]

    def likeness(unit: Array, centre: Array) -> Array:
        return np.array([sum(math.exp(-((u - centre) ** 2).sum() / 2 / 2.0**p) for p in range(-3, 2)) for u in unit])

    middle = np.concatenate(units).mean(0)
    of_video = [likeness(unit, middle) for unit in units]
    of_frame = [likeness(unit, unit.mean(0)) for unit in units]
    share = softmax([-float(v.mean()) / 0.01 for v in of_video])
    exact = [keep / len(video) * (1 + p - 1 / len(video)) for p in share]
    counts = divided(keep, exact, int(keep >= len(video)), [len(frame) for frame in video])
    return best([-(v + f) for v, f in zip(of_video, of_frame, strict=True)], counts)


def vcast(video: list[Array], keep: int) -> Kept:
    means = [frame.mean(0) / np.linalg.norm(frame.mean(0)) for frame in video]
    turns = [1.0] * len(video)
    for f in range(1, len(video) - 1):
        turns[f] = 1 - cosine(means[f] - means[f - 1], means[f + 1] - means[f])
    share = softmax([turn / 0.7 for turn in turns])
    base = int(keep >= len(video))
    exact = [base + (keep - base * len(video)) * p for p in share]
    scores = []
    for frame, mean in zip(video, means, strict=True):
        length = np.linalg.norm(frame, axis=1)
        scores.append(
            np.array([1 - cosine(x, mean) for x in frame]) + (length - length.min()) / (length.max() - length.min())
        )
    return best(scores, divided(keep, exact, base, [len(frame) for frame in video]))


def dycoke(video: list[Array], keep: int) -> Kept:
    """Frames of one size. ``keep`` is divided equally among the frames that do not start a window of four."""
    scores, later = [], []
    for f, frame in enumerate(video):
        before = {0: None, 1: f - 1, 2: f - 2, 3: f - 1}[f % 4]
        later.append(f % 4 != 0)
        scores.append(
            np.full(len(frame), 2.0)
            if before is None
            else np.array([1 - cosine(x, y) for x, y in zip(frame, video[before], strict=True)])
        )
    left = keep - sum(len(frame) for frame, moved in zip(video, later, strict=True) if not moved)
    each, more = divmod(left, sum(later))
    counts, given = [], 0
    for frame, moved in zip(video, later, strict=True):
        counts.append(min(each + (given < more), len(frame)) if moved else len(frame))
        given += moved
    return best(scores, counts)


def segments(video: list[Array], threshold: float, least: int) -> list[int]:
    """The segment of each frame: cut where neighbours are less alike than the threshold, or least alike."""
    same = [cosine(a.mean(0), b.mean(0)) for a, b in itertools.pairwise(video)]
    below = [f for f, value in enumerate(same) if value < threshold]
    lowest = sorted(range(len(same)), key=lambda f: (same[f], f))[: least - 1]
    cuts = set(below) | set(lowest)
    return [sum(cut < f for cut in cuts) for f in range(len(video))]


def facility_location(tokens: Array, keep: int) -> list[int]:
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    near = unit @ unit.T
    covered, kept = np.zeros(len(tokens)), list[int]()

    def gain(j: int, covered: Array) -> float:
        return round(float(np.maximum(near[:, j] - covered, 0).sum()), 9)  # two that cover each other are a tie

    for _ in range(keep):
        gains = [-1.0 if j in kept else gain(j, covered) for j in range(len(tokens))]
        kept.append(int(np.argmax(gains)))
        covered = np.maximum(covered, near[:, kept[-1]])
    return kept


def scope_by_piece(video: list[Array], saliency: list[Array], pieces: list[int], keep: int) -> Kept:
    """SCOPE in each piece, a run of frames; pieces share the budget by their number of tokens."""
    found: Kept = []
    runs = [[f for f, piece in enumerate(pieces) if piece == number] for number in range(max(pieces) + 1)]
    places = [[(f, n) for f in run for n in range(len(video[f]))] for run in runs]
    total = sum(len(place) for place in places)
    exact = [keep * len(place) / total for place in places]
    counts = [math.floor(e + 1e-9) for e in exact]
    for p in sorted(range(len(places)), key=lambda p: (-len(places[p]), p))[: keep - sum(counts)]:
        counts[p] += 1
    for place, count in zip(places, counts, strict=True):
        tokens = np.stack([video[f][n] for f, n in place])
        weight = np.array([saliency[f][n] for f, n in place])
        unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
        near, covered, kept = unit @ unit.T, np.zeros(len(tokens)), list[int]()
        for _ in range(count):
            gains = (np.maximum(near - covered[:, None], 0).sum(0) * weight).round(9)
            gains[kept] = -1
            kept.append(int(np.argmax(gains)))
            covered = np.maximum(covered, near[:, kept[-1]])
        found += [place[j] for j in kept]
    return sorted(found)

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


def vcast(video: list[Array], keep: int, *, one_frame: bool = False) -> Kept:
    """With ``one_frame``, all that rounding down leaves goes to the frame of the largest remainder that has room."""
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
    sizes = [len(frame) for frame in video]
    if not one_frame:
        return best(scores, divided(keep, exact, base, sizes))
    counts = [min(int(value), size) for value, size in zip(exact, sizes, strict=True)]
    while sum(counts) < keep:
        room = [f for f in range(len(video)) if counts[f] < sizes[f]]
        counts[max(room, key=lambda f: (exact[f] % 1, -f))] += 1
    return best(scores, counts)


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


def by_size(total: int, sizes: list[int]) -> list[int]:
    """Shares in proportion to sizes, rounded down; what is left goes to the largest, one each."""
    counts = [min(total * size // sum(sizes), size) for size in sizes] if sum(sizes) else [0 for _ in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    while sum(counts) < min(total, sum(sizes)):
        for i in [i for i in order if counts[i] < sizes[i]][: total - sum(counts)]:
            counts[i] += 1
    return counts


def peaks(tokens: Array, neighbours: int) -> list[int]:
    """Density peaks, best first."""
    far = np.array([[np.linalg.norm(a - b) for b in tokens] for a in tokens]) / math.sqrt(tokens.shape[1])
    density = [float(np.exp(-(np.sort(row)[:neighbours] ** 2).mean())) for row in far]
    score = []
    for i in range(len(tokens)):
        denser = [far[i, j] for j in range(len(tokens)) if (density[j], -j) > (density[i], -i)]
        score.append(min(denser, default=far.max()) * density[i])
    return sorted(range(len(tokens)), key=lambda i: (-score[i], i))


def fastvid(video: list[Array], attention: list[Array], keep: int) -> tuple[Kept, dict[tuple[int, int], Array]]:
    """The kept tokens, and the merged rows of the anchors."""
    scene = segments(video, 0.9, 8)
    scenes = [[f for f in range(len(video)) if scene[f] == number] for number in range(max(scene) + 1)]
    found: Kept = []
    rows: dict[tuple[int, int], Array] = {}
    for frames, share in zip(scenes, by_size(keep, [sum(len(video[f]) for f in s) for s in scenes]), strict=True):
        salient_share = share * 3 // 5 + (
            1 if (share * 3 % 5) / 5 >= 0.5 else 0
        )  # the larger remainder; 3/5 has the tie
        salient = []
        for f, count in zip(frames, by_size(salient_share, [len(video[f]) for f in frames]), strict=True):
            order = sorted(range(len(video[f])), key=lambda n, f=f: (-attention[f][n], n))
            salient += [(f, n) for n in order[:count]]
        left = {f: [n for n in range(len(video[f])) if (f, n) not in salient] for f in frames}
        tries = [frames[::-1][::step][::-1] for step in (4, 3, 2, 1)]
        some = next(chosen for chosen in tries if sum(len(left[f]) for f in chosen) >= share - salient_share)
        for f, count in zip(some, by_size(share - salient_share, [len(left[f]) for f in some]), strict=True):
            anchors = [left[f][i] for i in peaks(video[f][left[f]], 4)[:count]] if count else []
            joined: dict[int, list[Array]] = {n: [] for n in anchors}
            for g in frames if anchors else []:
                for n in left[g]:
                    joined[max(sorted(anchors), key=lambda a: round(cosine(video[g][n], video[f][a]), 12))].append(
                        video[g][n]
                    )
            for n, members in joined.items():
                weight = max(0.6, 1 / (len(members) + 1)) if members else 1.0
                mean = np.mean(members, axis=0) if members else video[f][n]
                rows[f, n] = weight * video[f][n] + (1 - weight) * mean
            found += [(f, n) for n in anchors]
        found += salient
    return sorted(found), rows


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

"""Methods that merge tokens from frame to frame, as plainly as they can be written: float64, loops, no scope.

Written from the papers' formulas, not from the parts. A video is (F, N, D); a place is a pair (frame, token). Each
method gives the kept places and the row of each. Ties go to the earliest.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from oracles_video import Array, by_size, cosine, segments

Place = tuple[int, int]
Rows = dict[Place, Array]
Tree = tuple[Place, list[Place]]


def divided(total: int, weights: list[int]) -> list[int]:
    """Whole numbers in proportion to whole weights, by largest remainder."""
    exact = [Fraction(total * weight, sum(weights) or 1) for weight in weights]
    counts = [math.floor(e) for e in exact]
    order = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def grown(links: list[tuple[float, Place, Place]], places: list[Place], least: int) -> list[Tree]:
    """Trees of (cosine, token, token of the frame before) links, of which the strongest stay if roots were too few."""
    spare = max(0, len(places) - least)
    kept = {token: parent for _, token, parent in sorted(links, key=lambda one: (-round(one[0], 12), one[1]))[:spare]}
    trees: dict[Place, list[Place]] = {place: [] for place in places}
    for place in places:
        root = place
        while root in kept:
            root = kept[root]
        trees[root].append(place)
    return [(root, members) for root, members in trees.items() if members]


def mean(video: Array, places: list[Place]) -> Array:
    result: Array = np.mean([video[place] for place in places], axis=0)
    return result


def clustered(vectors: list[Array], count: int, neighbours: int, share: float | None) -> list[tuple[int, Array]]:
    """The density peaks of some vectors, and the row of each: the mean of its cluster, or ``share`` of the peak."""
    far = np.array([[np.linalg.norm(a - b) for b in vectors] for a in vectors]) / math.sqrt(len(vectors[0]))
    density = [float(np.exp(-(np.sort(row)[:neighbours] ** 2).mean())) for row in far]
    score = []
    for i in range(len(vectors)):
        denser = [far[i, j] for j in range(len(vectors)) if (density[j], -j) > (density[i], -i)]
        score.append(min(denser, default=far.max()) * density[i])
    centres = sorted(range(len(vectors)), key=lambda i: (-score[i], i))[:count]
    joined: dict[int, list[int]] = {centre: [] for centre in centres}
    for i in range(len(vectors)):
        if i not in joined:
            joined[min(centres, key=lambda centre, i=i: far[i, centre])].append(i)
    rows = []
    for centre, others in joined.items():
        row = vectors[centre]
        if others and share is None:
            row = np.mean([vectors[i] for i in (centre, *others)], axis=0)
        elif others:
            row = share * row + (1 - share) * np.mean([vectors[i] for i in others], axis=0)
        rows.append((centre, row))
    return rows


def of_frames(video: Array, trees: list[Tree], count: int, neighbours: int | None) -> Rows:
    """In each frame, clusters of the trees that begin there; frames share the count by their number of trees."""
    frames = sorted({root[0] for root, _ in trees})
    each = [[tree for tree in trees if tree[0][0] == frame] for frame in frames]
    rows: Rows = {}
    for mine, share in zip(each, by_size(count, [len(some) for some in each]), strict=True):
        if share:
            few = 7 if neighbours is None else min(neighbours, share)
            means = [mean(video, members) for _, members in mine]
            rows |= {mine[i][0]: row for i, row in clustered(means, share, few, None)}
    return rows


def flashvid(video: Array, attention: Array, keep: int) -> Rows:
    scene = segments(list(video), 0.9, 8)
    scenes = [[f for f in range(len(video)) if scene[f] == number] for number in range(max(scene) + 1)]
    tokens, rows = video.shape[1], Rows()
    for frames, share in zip(scenes, by_size(keep, [tokens * len(some) for some in scenes]), strict=True):
        salient, rest = divided(share, [7, 3])
        taken: list[Place] = []
        for f, count in zip(frames, by_size(salient, [tokens] * len(frames)), strict=True):
            far = np.array([[1 - cosine(a, b) for b in video[f]] for a in video[f]])
            nearest = (far + np.diag([np.inf] * tokens)).min(0)
            picked: list[int] = []
            for _ in range(count):
                score = np.where(np.isin(range(tokens), picked), -1, attention[f] * nearest)
                picked.append(int(np.argmax(score)))
                nearest = far[picked].min(0)
            taken += [(f, n) for n in picked]
        left = [(f, n) for f in frames for n in range(tokens) if (f, n) not in taken]
        links = []
        for place in left:
            earlier = [other for other in left if other[0] == place[0] - 1]
            same = [round(cosine(video[place], video[other]), 12) for other in earlier]
            if same and max(same) >= 0.8:
                links.append((max(same), place, earlier[int(np.argmax(same))]))
        rows |= {place: video[place] for place in taken}
        rows |= of_frames(video, grown(links, left, rest), rest, 7)
    return rows


def by_still(
    video: Array,
    scenes: list[list[int]],
    still: list[list[int]],
    keep: int,
    share: float | None,
    attention: Array | None,
) -> Rows:
    """Places that stand still in a scene as one token, clustered; others by attention, or clustered frame by frame."""
    tokens, rows = video.shape[1], Rows()
    left = [len(places) + (tokens - len(places)) * len(scene) for places, scene in zip(still, scenes, strict=True)]
    counts = by_weight(keep, left, [tokens * len(scene) for scene in scenes])
    for frames, places, count in zip(scenes, still, counts, strict=True):
        links = [(cosine(video[f, n], video[f - 1, n]), (f, n), (f - 1, n)) for f in frames[1:] for n in places]
        trees = grown(links, [(f, n) for f in frames for n in range(tokens)], count)
        merged = [tree for tree in trees if len(tree[1]) > 1]
        single = [tree for tree in trees if len(tree[1]) == 1]
        moving, standing = divided(count, [len(single), len(merged)]) if trees else (0, 0)
        if standing:
            few = 7 if share is None else min(7, standing)
            means = [mean(video, members) for _, members in merged]
            rows |= {merged[i][0]: row for i, row in clustered(means, standing, few, share)}
        if attention is None:
            rows |= of_frames(video, single, moving, None)
            continue
        each = [[root for root, _ in single if root[0] == f] for f in sorted({root[0] for root, _ in single})]
        for mine, number in zip(each, by_size(moving, [len(some) for some in each]), strict=True):
            best = sorted(mine, key=lambda place: (-attention[place], place))[:number]
            rows |= {place: video[place] for place in best}
    return rows


def by_weight(total: int, weights: list[int], most: list[int]) -> list[int]:
    """Shares in proportion to weights, rounded down, up to ``most``; what is left goes to the heaviest, one each."""
    counts = [min(total * weight // sum(weights), high) for weight, high in zip(weights, most, strict=True)]
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    while sum(counts) < total:
        for i in [i for i in order if counts[i] < most[i]][: total - sum(counts)]:
            counts[i] += 1
    return counts


def holitom(video: Array, attention: Array, keep: int) -> Rows:
    """All divisions into runs are tried; of those that save equally, the last run is the shortest, and so on."""
    frames, tokens = video.shape[:2]
    same = [[cosine(video[f, n], video[f - 1, n]) >= 0.8 for n in range(tokens)] for f in range(1, frames)]

    def standing(run: list[int]) -> list[int]:
        return [n for n in range(tokens) if len(run) > 1 and all(same[f - 1][n] for f in run[1:])]

    best: list[tuple[int, list[list[int]]]] = [(0, [])]
    for end in range(1, frames + 1):
        tries = []
        for start in range(end - 1, -1, -1):
            run = list(range(start, end))
            tries.append((best[start][0] + (len(run) - 1) * len(standing(run)), [*best[start][1], run]))
        best.append(max(tries, key=lambda one: one[0]))
    runs = best[-1][1]
    return by_still(video, runs, [standing(run) for run in runs], keep, 0.6, attention)


def prunevid(video: Array, keep: int) -> Rows:
    frames, tokens = video.shape[:2]
    means = [frame.mean(0) for frame in video]
    centres = [i for i, _ in clustered(means, math.ceil(frames / 4), 7, None)]
    cluster = [
        f if f in centres else min(centres, key=lambda centre, f=f: float(np.linalg.norm(means[f] - means[centre])))
        for f in range(frames)
    ]
    scenes: list[list[int]] = []
    for f in range(frames):
        if f and cluster[f] == cluster[f - 1]:
            scenes[-1].append(f)
        else:
            scenes.append([f])

    def still(scene: list[int], n: int) -> bool:
        pairs = [cosine(video[f, n], video[g, n]) for f in scene for g in scene if f < g]
        return bool(pairs) and float(np.mean(pairs)) >= 0.8

    return by_still(video, scenes, [[n for n in range(tokens) if still(s, n)] for s in scenes], keep, None, None)


def framefusion(video: Array, attention: Array, keep: int) -> Rows:
    frames, tokens = video.shape[:2]
    links = [
        (cosine(video[f, n], video[f - 1, n]), (f, n), (f - 1, n)) for f in range(1, frames) for n in range(tokens)
    ]
    places = [(f, n) for f in range(frames) for n in range(tokens)]
    trees = grown([link for link in links if link[0] >= 0.6], places, keep)
    best = sorted(trees, key=lambda tree: (-attention[tree[0]], tree[0]))[:keep]
    return {root: mean(video, members) for root, members in best}

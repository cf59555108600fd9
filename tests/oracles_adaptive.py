"""Methods that adapt to the image, as plainly as they can be written: float64, lists, one image at a time. No scope.

Written from the papers' formulas and from what the releases do, not from the parts. Ties go to the lowest index.
"""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def ranked(scores: Array) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def cosines(vectors: Array) -> Array:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.round(unit @ unit.T, 12)  # equal numbers stay equal


def grow(cosine: Array, saliency: Array, chosen: list[int], keep: int) -> list[int]:
    """Tokens added one by one: saliency times the distance to the nearest chosen one."""
    chosen = list(chosen)
    while len(chosen) < keep:
        best, which = -math.inf, -1
        for j in range(len(cosine)):
            if j not in chosen:
                score = saliency[j] * min(1 - cosine[i, j] for i in chosen)
                if score > best:
                    best, which = score, j
        chosen.append(which)
    return chosen


def anchorprune(relevance: Array, saliency: Array, features: Array, keep: int) -> tuple[list[int], int]:
    """The picks in order, and how many of them are anchors; at least 5/32 and at most half of them."""
    cosine, order, bound = cosines(features), ranked(relevance), keep // 2
    first = order[: max(1, bound * 5 // 16)]
    anchors, different = list(first), 0
    for token in order[len(first) : bound]:
        anchors.append(token)
        different += min(1 - cosine[token, i] for i in first) > 0.2
        if different == 3:
            break
    anchors = anchors[:bound]
    return grow(cosine, saliency, anchors, keep), len(anchors)


def spectral_entropy(features: Array) -> float:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.linalg.svd(unit - unit.mean(0), compute_uv=False) ** 2
    shares = values / values.sum()
    return float(-sum(p * math.log(p) for p in shares if p > 0) / math.log(len(values)))


def effective_rank(features: Array) -> float:
    values = np.linalg.svd(features, compute_uv=False)
    shares = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def promprune(attention: Array, features: Array, keep: int) -> tuple[list[int], int]:
    """The picks in order, and how many of them are salient."""
    salient = round(keep / (1 + math.exp((spectral_entropy(features) - 0.42) / 0.02)))
    chosen = ranked(attention)[:salient]
    cosine = cosines(features)
    rest = [j for j in range(len(cosine)) if j not in chosen]
    if salient == keep:
        return chosen, salient
    nearest = {j: max((cosine[i, j] for i in chosen or [k for k in rest if k != j]), default=0.0) for j in rest}
    diverse = [min(rest, key=lambda j: (nearest[j], j))]
    while len(diverse) + salient < keep:  # the volume that each would add, by solving for it
        inside = cosine[np.ix_(diverse, diverse)]
        volume = {}
        for j in rest:
            if j not in diverse:
                row = cosine[j, diverse]
                volume[j] = 1 - row @ np.linalg.solve(inside, row)
        best = max(volume.values())
        diverse.append(min(j for j, v in volume.items() if v > best - 1e-12))
    return chosen + diverse, salient


def suppressed(order: list[int], near: Array, threshold: list[float], stop: int = 10**9) -> list[int]:
    """The tokens that survive: each removes the later ones above the threshold of its number."""
    left, kept = list(order), []
    while left and len(kept) < stop:
        token = left.pop(0)
        kept.append(token)
        left = [j for j in left if near[j, token] <= threshold[min(len(kept), len(threshold)) - 1]]
    return kept


def agilepruner(attention: Array, features: Array, keep: int, average: float = 100.0) -> list[int]:
    order, complexity = ranked(attention), effective_rank(features) / average
    limits = [1 - min(0.01 * k * complexity, 0.5) for k in range(1, len(order) + 1)]
    kept = suppressed(order, cosines(features), limits, keep)
    return kept + [j for j in order if j not in kept][: keep - len(kept)]


def themes(features: Array, count: int) -> list[int]:
    """The principal component of the channels that each token has most of."""
    tokens = 1 / (1 + np.exp(-features))
    matrix = (tokens - tokens.mean(1, keepdims=True)).T
    vectors = np.linalg.svd(matrix, full_matrices=False)[2][:count]
    return [int(i) for i in np.abs(vectors).argmax(0)]


def prunesid(attention: Array, features: Array, keep: int, *, cls: bool = False) -> list[int]:
    """The kept tokens; with ``cls``, as released: CLS takes a row, which counts, and shares are rounded as sums."""
    whole = keep
    keep -= cls
    cosine, theme = cosines(features), themes(features, round(whole / 4))
    pairs = cosine[np.tril_indices(len(cosine), -1)]
    limit = whole / 32 * pairs.mean()
    names = sorted(set(theme))
    ranks, alive = {}, {}
    for name in names:
        order = [j for j in ranked(attention) if theme[j] == name]
        kept = suppressed(order, cosine, [limit])
        ranks[name], alive[name] = kept + [j for j in order if j not in kept], len(kept)
    most = {n: max(1, min(alive[n], 5 * math.ceil(whole / 64))) for n in names}
    while sum(most.values()) < whole:
        most = {n: min(most[n] + 1, len(ranks[n])) for n in names}
    total = sum(alive.values())
    by_weight = sorted(names, key=lambda n: (-alive[n], n))
    if cls:
        spare, done, counts = keep - len(names), 0, {}
        for at, name in enumerate(names):
            upto = round(spare * sum(alive[n] for n in names[: at + 1]) / total)
            counts[name] = min(1 + upto - done, most[name])
            done = upto
        for name in by_weight:
            counts[name] += min(most[name] - counts[name], keep - sum(counts.values()))
    else:
        counts = {n: min(max(keep * alive[n] // total, 1), most[n]) for n in names}
        while sum(counts.values()) < keep:
            for name in [n for n in by_weight if counts[n] < most[n]][: keep - sum(counts.values())]:
                counts[name] += 1
        while sum(counts.values()) > keep:
            for name in [n for n in reversed(by_weight) if counts[n] > 1][: sum(counts.values()) - keep]:
                counts[name] -= 1
    return [j for name in names for j in ranks[name][: counts[name]]]


def vscan(shallow: Array, deep: Array, features: Array, side: int, keep: int) -> tuple[list[int], Array]:
    """The kept tokens in raster order, and the rows (keep, D) that the others are merged into."""
    local, windows = keep // 2, {}
    for j in range(side * side):
        windows.setdefault((j // side // 6, j % side // 6), []).append(j)
    kept = []
    for number, name in enumerate(sorted(windows)):
        share = local // len(windows) + (number < local % len(windows))
        kept += sorted(windows[name], key=lambda j: (-shallow[j], j))[:share]
    kept += [j for j in ranked(deep) if j not in kept][: keep - local]
    kept = sorted(kept)
    cosine, sums, sizes = cosines(features), features[kept].copy(), np.ones(len(kept))
    for j in range(len(features)):
        if j not in kept:
            at = int(cosine[j, kept].argmax())
            sums[at] += features[j]
            sizes[at] += 1
    return kept, sums / sizes[:, None]


def components(features: Array, threshold: float = 0.95) -> list[set[int]]:
    """Connected components of the graph of similar tokens, each grown from its first token."""
    cosine, left, found = cosines(features), set(range(len(features))), []
    while left:
        edge = {min(left)}
        piece = set()
        while edge:
            piece |= edge
            left -= edge
            edge = {j for j in left if any(cosine[i, j] > threshold for i in edge)}
        found.append(piece)
    return found


def scissor(features: Array, keep: int) -> list[int]:
    """The kept tokens in raster order: of the largest components, the token most like its component."""
    cosine = np.maximum(cosines(features), 0)
    pieces = sorted(components(features), key=lambda piece: (-len(piece), min(piece)))[:keep]
    medoids = [max(sorted(piece), key=lambda j, p=piece: round(sum(cosine[i, j] for i in p), 9)) for piece in pieces]
    return sorted(medoids)


def hidden_change(before: Array, after: Array) -> list[int]:
    return ranked(np.round(np.sqrt(((after - before) ** 2).sum(1)), 12))


def priortr(attention: Array) -> list[int]:
    """From (H, M, N) attention of the text: the question's mean against the first token's."""
    first, question = attention[:, 0].mean(0), attention.mean((0, 1))
    task, prior = question / question.sum(), first / first.sum()
    return ranked(np.round([p * math.log(p / q) for p, q in zip(task, prior, strict=True)], 12))


def content_attention(queries: Array, keys: Array) -> Array:
    """(N,) from (H, M, C) queries of the text and (G, N, C) keys; each key head serves H / G query heads."""
    total = np.zeros(keys.shape[1])
    for head, rows in enumerate(queries):
        key = keys[head * len(keys) // len(queries)]
        weights = [math.exp(rows[-1] @ k / len(k) ** 0.5) for k in key]
        total += np.array(weights) / sum(weights)
    return total / len(queries)


def spectral_change(before: Array, after: Array, side: int) -> Array:
    """(N,) from (N, D) states; every frequency by itself, as a sum over the grid."""

    def detail(states: Array) -> Array:
        plane = states.reshape(side, side, -1)
        places = [np.exp(-2j * np.pi * np.outer(np.arange(side), np.arange(side)) / side)] * 2
        spectrum = np.einsum("ua,vb,abd->uvd", *places, plane)
        for u in range(side):
            for v in range(side):
                far = sum(((f + side // 2) % side - side // 2) ** 2 for f in (u, v))
                spectrum[u, v] *= 1 - math.exp(-far / (2 * (side // 2 * 0.1) ** 2))
        back = np.einsum("ua,vb,uvd->abd", places[0].conj(), places[1].conj(), spectrum) / side**2
        return np.abs(back).mean(2).flatten()

    old, new = detail(before), detail(after)
    change = np.minimum(np.abs(new - old) / (old.mean() + old + 1e-6), 1)
    level = (change - change.mean()) / (change.std(ddof=1) + 1e-6)
    return 1 / (1 + np.exp(-level / 0.1))

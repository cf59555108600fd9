"""Methods of 2025 and 2026, second file: float64, one image at a time, as plainly as can be. Imports no scope.

Written from the papers' formulas. Ties go to the lowest index.
"""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def ranked(score: Array) -> list[int]:
    return sorted(range(len(score)), key=lambda i: (-score[i], i))


def stretched(cells: Array, rows: int, cols: int) -> Array:
    """(rows, cols) bilinear interpolation at the centres of pixels."""
    height, width = cells.shape
    found = np.empty((rows, cols))
    for r in range(rows):
        for c in range(cols):
            y = min(max((r + 0.5) * height / rows - 0.5, 0), height - 1)
            x = min(max((c + 0.5) * width / cols - 0.5, 0), width - 1)
            top, left = math.floor(y), math.floor(x)
            total = 0.0
            for i, wy in ((top, 1 - (y - top)), (min(top + 1, height - 1), y - top)):
                for j, wx in ((left, 1 - (x - left)), (min(left + 1, width - 1), x - left)):
                    total += wy * wx * cells[i, j]
            found[r, c] = total
    return found


def area(cells: Array, rows: tuple[float, float], cols: tuple[float, float]) -> float:
    """The sum of cells inside a rectangle, in cells; those on its border count by the share that is inside."""
    total = 0.0
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            high = max(0.0, min(i + 1, rows[1]) - max(i, rows[0]))
            wide = max(0.0, min(j + 1, cols[1]) - max(j, cols[0]))
            total += high * wide * cells[i, j]
    return total


def globalcom2(
    overview: Array, canvas: Array, tiles: Array, keep: int, temperature: float
) -> list[set[tuple[int, int]]]:
    """The kept cells of the overview, then of each tile.

    Args:
        overview: (R, C) attention in the overview.
        canvas: (H, W) attention of the tiles, put together.
        tiles: (H, W) the tile of each token, from 0.
        keep: Tokens of all of them together.
        temperature: Of the softmax.
    """
    height, width = canvas.shape
    over = stretched(overview, height, width)
    spans, sums = [], []
    for tile in range(tiles.max() + 1):
        rows, cols = np.nonzero(tiles == tile)
        spans.append(list(zip(rows.tolist(), cols.tolist(), strict=True)))
        scale = overview.shape[0] / height, overview.shape[1] / width
        sums.append(
            area(
                overview,
                (rows.min() * scale[0], (rows.max() + 1) * scale[0]),
                (cols.min() * scale[1], (cols.max() + 1) * scale[1]),
            )
            / overview.sum()
        )
    power = np.exp(np.array(sums) / temperature - max(sums) / temperature)
    raised = 1 + power / power.sum() - 1 / len(sums)
    own = [(r, c) for r in range(overview.shape[0]) for c in range(overview.shape[1])]
    weights = [float(len(own))] + [len(span) * share for span, share in zip(spans, raised, strict=True)]
    sizes = [len(own)] + [len(span) for span in spans]
    exact = [keep * weight / sum(weights) for weight in weights]
    counts = [min(int(e), size) for e, size in zip(exact, sizes, strict=True)]
    while sum(counts) < keep:
        open_ = [i for i in range(len(counts)) if counts[i] < sizes[i]]
        best = max(open_, key=lambda i: (exact[i] - counts[i], -i))
        counts[best] += 1
    kept = []
    for places, count, first in zip([own, *spans], counts, [True, *[False] * len(spans)], strict=True):
        if first:
            score = np.array([overview[place] for place in places])
        else:
            mine = np.array([canvas[place] for place in places])
            theirs = np.array([over[place] for place in places])
            score = mine / (np.linalg.norm(mine) or 1) + theirs / (np.linalg.norm(theirs) or 1)
        kept.append({places[i] for i in ranked(score)[:count]})
    return kept


def d2pruner(x: Array, attention: Array, prior: Array, keep: int) -> list[int]:
    """Half by attention over the prior; then a maximal independent set of the others, best first; then others.

    Args:
        x: (N, D) tokens of a grid, row by row.
        attention: (N,).
        prior: (R, C) of the grid.
        keep: Tokens to keep.
    """
    cols = prior.shape[1]
    score = attention / prior.flatten()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    order = ranked(score)
    pivots = -(-keep // 2)
    picks, rest = order[:pivots], order[pivots:]
    independent: list[int] = []
    for j in rest:
        near = [i for i in independent if abs(i // cols - j // cols) <= 2 and abs(i % cols - j % cols) <= 2]
        if all(unit[i] @ unit[j] <= 0.8 for i in near):
            independent.append(j)
    others = [j for j in rest if j not in set(independent)]
    return [*picks, *[*independent, *others][: keep - pivots]]


def transported(cost: Array, temperature: float, rounds: int = 20000) -> Array:
    """The plan with sums of 1 / n, by scaling rows and columns in turn."""
    kernel = np.exp(-(cost - cost.min()) / temperature)
    rows = cols = np.full(len(cost), 1 / len(cost))
    left, right = np.ones(len(cost)), np.ones(len(cost))
    for _ in range(rounds):
        left = rows / (kernel @ right)
        right = cols / (kernel.T @ left)
    plan: Array = left[:, None] * kernel * right
    return plan


def topv_cost(source: Array, target: Array, places: Array, weights: tuple[float, float, float]) -> Array:
    """(N, N) feature, relative and central cost of tokens at (N, 2) places of one tile."""
    last = places.max(0)
    diagonal = float(np.hypot(*last)) or 1.0
    cost = np.empty((len(source), len(target)))
    for i in range(len(source)):
        for j in range(len(target)):
            lengths = np.linalg.norm(source[i]) * np.linalg.norm(target[j])
            cosine = source[i] @ target[j] / lengths if lengths else 0.0
            apart = np.linalg.norm(places[i] - places[j]) / diagonal
            middle = np.linalg.norm(places[i] - last / 2) * 2 / diagonal
            cost[i, j] = weights[0] * (1 - cosine) + weights[1] * apart + weights[2] * middle
    return cost


def shares_of_layers(scores: Array, thresholds: Array) -> Array:
    """(L, T) the share of tokens left behind each layer, from (images, L, N) scores."""
    images, layers, count = scores.shape
    left = np.zeros((layers, len(thresholds)))
    for image in range(images):
        for t, threshold in enumerate(thresholds):
            alive = set(range(count))
            for layer in range(layers):
                row, mass = scores[image, layer], 0.0
                for j in sorted(range(count), key=lambda j, row=row: (row[j], j)):  # type: ignore[misc]
                    mass += row[j]
                    if mass > threshold * row.sum() * (1 + 1e-12) + 1e-12 * row.sum():
                        break
                    alive.discard(j)
                left[layer, t] += len(alive) / count / images
    return left


def text_information(rows: Array) -> float:
    """Bits that (M, N) attention of text to image tells, with the release's small number."""
    count, total = len(rows), 0.0
    for y in range(rows.shape[1]):
        of_token = sum(rows[x, y] / count for x in range(count))
        for x in range(count):
            both = rows[x, y] / count
            total += both * math.log2(max(both / (of_token / count + 1e-6), 1e-6))
    return total

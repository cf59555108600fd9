"""Released methods in the precision of the tower: every step rounds as torch rounds in that dtype. Imports no scope.

Each function was written from the paper's formulas and the order of operations of the authors' code: what is scaled,
averaged or added first decides how half precision rounds. Tokens of one tile are (N, ...) tensors of float16 or
bfloat16; equal scores go to the lowest index, where the releases leave it to an unstable sort.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranked(scores: Tensor) -> list[int]:
    """Indices from the highest score down."""
    return scores.sort(descending=True, stable=True).indices.tolist()


def unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def scope(features: Tensor, attention: Tensor, keep: int) -> list[int]:
    """Picks in order; ``attention`` is (H, N)."""
    likeness = unit(features) @ unit(features).T
    saliency = attention.sum(0)
    covered, left, picks = torch.zeros_like(saliency), torch.ones(len(saliency), dtype=torch.bool), []
    for _ in range(keep):
        gain = torch.maximum(likeness - covered[:, None], likeness.new_zeros(1)).sum(0) * saliency
        picks.append(int(gain.masked_fill(~left, -torch.inf).argmax()))
        left[picks[-1]] = False
        covered = torch.maximum(covered, likeness[picks[-1]])
    return picks


def divprune(features: Tensor, keep: int) -> list[int]:
    """Picks in order."""
    distance = 1 - unit(features) @ unit(features).T
    picks = [int(distance.sort(dim=0).values[1].argmax())]
    while len(picks) < keep:
        picks.append(int(distance[picks].amin(0).argmax()))
    return picks


def fastervlm(attention: Tensor, keep: int) -> list[int]:
    return sorted(ranked(attention.mean(0))[:keep])


def visionzip(attention: Tensor, keys: Tensor, dominant: int, contextual: int) -> tuple[list[int], list[int]]:
    """Tokens in the order of the rows, and for each token that is merged its target; ``keys`` is (H, N, C)."""
    first = sorted(ranked(attention.sum(0))[:dominant])
    rest = [token for token in range(attention.shape[1]) if token not in first]
    metric = unit(keys.mean(0)[rest])
    step = max(1, len(rest) // contextual)
    places = list(range(0, len(rest), step))[:contextual]
    others = [place for place in range(len(rest)) if place not in places]
    nearest = (metric[others] @ metric[places].T).argmax(1).tolist()
    homes = [-1] * attention.shape[1]
    for place, target in zip(others, nearest, strict=True):
        homes[rest[place]] = rest[places[target]]
    return first + [rest[place] for place in places], homes


def vispruner(attention: Tensor, features: Tensor, keep: int) -> list[int]:
    order = ranked(attention.mean(0))
    important, line = order[: keep // 2], order[keep // 2 :]
    vectors = unit(features)
    while len(line) > keep - keep // 2:
        drop = min(8, len(line) - (keep - keep // 2))
        even, odd = line[::2], line[1::2]
        by_likeness = ranked((vectors[even] @ vectors[odd].T).amax(1))
        line = [even[i] for i in by_likeness[drop:]] + odd
    return sorted(important + line)


def hiprune(middle: Tensor, deep: Tensor, keep: int, side: int) -> list[int]:
    """Both maps are (H, 1 + N, 1 + N): the mean over heads comes first, then that over all queries."""
    middle, deep = (maps.mean(0).mean(0)[1:] for maps in (middle, deep))
    kept: set[int] = set()
    for anchor in ranked(middle)[: round(keep * 0.1 / 5)]:
        kept |= {min(max(anchor + by, 0), len(middle) - 1) for by in (0, -1, 1, -side, side)}
    rest = [token for token in ranked(deep) if token not in kept]
    return sorted([*kept, *rest[: keep - len(kept)]])


def holov(attention: Tensor, features: Tensor, keep: int, chunks: int = 16) -> list[int]:
    """Rounded attention and cosines; all that follows is float32. For N that 16 divides."""
    attention = attention.mean(0).float()
    members = torch.arange(len(attention)).reshape(chunks, -1)
    scores = []
    for chunk in members:
        vectors = features[chunk] / (features[chunk].norm(dim=1, keepdim=True) + 1e-6)
        likeness = (vectors @ vectors.T) * (1 - torch.eye(len(chunk)))
        others = len(chunk) - 1
        mean = likeness.sum(1) / others
        variance = ((likeness - mean[:, None]) ** 2).sum(1) / others
        scaled = attention[chunk] * 1e3
        scores.append((scaled + 0.09 * variance * (scaled.abs().mean() / (variance.abs().mean() + 1e-6))).mean())
    weights = torch.stack(scores) / (torch.stack(scores).sum() + 1e-6)
    counts = (weights * keep).floor().long()
    for chunk in ranked(weights)[: keep - int(counts.sum())]:
        counts[chunk] += 1
    kept = []
    for chunk, count in zip(members, counts.tolist(), strict=True):
        order = ranked(attention[chunk])[:count] if count < len(chunk) else range(len(chunk))
        kept += [int(chunk[i]) for i in order]
    return kept


def prumerge(query: Tensor, keys: Tensor) -> list[int]:
    """Outliers by attention; ``query`` is (C,) of CLS and ``keys`` (1 + N, C), CLS first, all heads side by side."""
    attention = ((query[None] @ keys.T) * len(query) ** -0.5).softmax(-1)[0, 1:]
    low, high = torch.quantile(attention.double(), torch.tensor([0.25, 0.75], dtype=torch.float64))
    return ranked(attention)[: int((attention.double() > high + 1.5 * (high - low)).sum())]


def tome(keys: Tensor, keep: int) -> list[int]:
    """The line after the last round; ``keys`` is (H, N, C). Means are weighted by size and rounded in each round."""
    metric, line = keys.mean(0), list(range(keys.shape[1]))
    sizes = metric.new_ones(len(line), 1)
    while len(line) > keep:
        fold = min(len(line) - keep, len(line) // 2)
        vectors = unit(metric)
        likeness = vectors[::2] @ vectors[1::2].T
        order = ranked(likeness.amax(1))
        into = likeness.argmax(1)[order[:fold]]

        def folded(values: Tensor, order: list[int] = order, into: Tensor = into, fold: int = fold) -> Tensor:
            even, odd = values[None, ::2], values[None, 1::2]
            index = into[None, :, None].expand(1, -1, values.shape[1])
            return torch.cat([even[0, order[fold:]], odd.scatter_reduce(1, index, even[:, order[:fold]], "sum")[0]])

        metric, sizes = folded(metric * sizes), folded(sizes)
        metric = metric / sizes
        line = [line[::2][i] for i in order[fold:]] + line[1::2]
    return line


def mmtok(projected: Tensor, hidden: Tensor, text: Tensor, keep: int) -> list[int]:
    """Picks in order: vectors are scaled to length 1 in half precision, all that follows is float32 (here float64)."""
    tokens, tower, words = (unit(vectors).double() for vectors in (projected, hidden, text))
    rows = torch.cat(
        [
            (words @ tokens.T / 0.02).softmax(1) / len(words),
            0.5 * (tower @ tower.T / 0.2).softmax(1) / len(tower),
        ]
    )
    covered, picks = torch.zeros(len(rows), dtype=torch.float64), []
    for _ in range(keep):
        gain = (rows - covered[:, None]).clamp(min=0).sum(0)
        gain[picks] = -torch.inf
        picks.append(int(gain.argmax()))
        covered = covered.maximum(rows[:, picks[-1]])
    return picks


def cdpruner(projected: Tensor, similarity: Tensor, keep: int) -> list[int]:
    """Picks in order, until a variance is not positive; ``similarity`` is (T, N) cosines to the text in
    float32, to which the release projects.

    From there on the release compares NaN. Vectors are scaled to length 1 in half precision, the rest is float32.
    """
    vectors = unit(projected).float()
    likeness = vectors @ vectors.T
    relevance = -similarity.mean(0)
    relevance = (relevance - relevance.min() + 1e-6) / (relevance.max() - relevance.min())
    kernel = relevance[:, None] * likeness * relevance
    factor, variance, picks = kernel.new_zeros(keep, 1, len(kernel)), kernel.diagonal().clone(), []
    for step in range(keep):
        picks.append(int(variance.argmax()))
        if variance[picks[-1]] <= 0:
            return picks[:-1]
        known = torch.einsum("tb,tbn->bn", factor[:step, :, picks[-1]], factor[:step])[0]
        row = (kernel[picks[-1]] - known) / variance[picks[-1]].sqrt()
        factor[step, 0] = row
        variance -= row**2
        variance[picks[-1]] = -torch.inf
    return picks

"""What approximations of greedy lose, and what lazy evaluation would save, on photographs' features.

    python docs/speed/approximations.py     # the tables of docs/numerics-and-parity.md

Needs the extra `demo` (scikit-image's photographs, the `dinov2-small` tower). No times: counts and qualities alone.
"""

from __future__ import annotations

import heapq
from statistics import mean

import torch
from PIL import Image
from skimage import data
from torch import Tensor

import scope_core as scope

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "cat", "colorwheel")
KEEP = (64, 192)
OPTIMIZERS = {
    "`stochastic`, epsilon 0.01": {"name": "stochastic", "epsilon": 0.01},
    "`stochastic`, epsilon 0.1": {"name": "stochastic", "epsilon": 0.1},
    "`stochastic`, epsilon 0.5": {"name": "stochastic", "epsilon": 0.5},
    "`k_per_step`, 2": {"name": "k_per_step", "step": 2},
    "`k_per_step`, 4": {"name": "k_per_step", "step": 4},
    "`k_per_step`, 16": {"name": "k_per_step", "step": 16},
    "`top_k`": {"name": "top_k"},
}
COMBINERS = {"coverage alone": "coverage_only", "gain x saliency": "product"}


def photographs() -> tuple[Tensor, Tensor]:
    """(P, 576, 384) features and (P, 576) CLS attention."""
    tower = scope.load("dinov2-small")
    images = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in PHOTOGRAPHS]
    name = "vision.cls_attention[-2]"
    tokens = tower.encode(images, at="vision", needs=frozenset({name}))
    return tokens.features, tokens.signal(name).sum(1)


def cosines(features: Tensor) -> Tensor:
    """(N, N) in float64."""
    unit = torch.nn.functional.normalize(features.double(), dim=-1)
    return unit @ unit.T


def covered(matrix: Tensor, picks: list[int]) -> float:
    """Facility location of a set of tokens."""
    return float(matrix[:, picks].amax(1).clamp(min=0).sum())


def approximations(features: Tensor, saliency: Tensor) -> str:
    """Coverage and picks of each optimizer beside exact greedy's."""
    matrices = [cosines(image) for image in features]
    rows = []
    for label, combiner in COMBINERS.items():
        for keep in KEEP:
            spec = {"recipe": "scope", "combiner": combiner, "budget": keep}
            exact = scope.select(features, saliency=saliency, spec=spec).picks.tolist()
            for name, optimizer in OPTIMIZERS.items():
                other = scope.select(features, saliency=saliency, spec={**spec, "optimizer": optimizer}).picks.tolist()
                pairs = list(zip(matrices, exact, other, strict=True))
                shares = [covered(matrix, theirs) / covered(matrix, mine) for matrix, mine, theirs in pairs]
                common = [len(set(mine) & set(theirs)) / keep for _, mine, theirs in pairs]
                rows.append(
                    f"| {label} | {keep} | {name} | {100 * mean(shares):.1f}% | {100 * min(shares):.1f}% "
                    f"| {100 * mean(common):.0f}% |"
                )
    head = "| score | K | optimizer | coverage, of exact greedy's | worst photograph | picks in common |"
    return "\n".join([head, "|---|--:|---|--:|--:|--:|", *rows])


def lazily(matrix: Tensor, saliency: Tensor, keep: int) -> tuple[list[int], int]:
    """Minoux' lazy greedy: its picks, and how many gains it computes, each a column of N numbers."""
    best = torch.zeros(len(matrix), dtype=torch.float64)
    scores = (matrix.clamp(min=0).sum(0) * saliency).tolist()
    heap = [(-score, token, 0) for token, score in enumerate(scores)]
    heapq.heapify(heap)
    picks: list[int] = []
    computed = len(heap)
    while len(picks) < keep:
        _, token, age = heapq.heappop(heap)
        if age == len(picks):
            picks.append(token)
            best = best.maximum(matrix[:, token])
            continue
        computed += 1
        score = float((matrix[:, token] - best).clamp(min=0).sum() * saliency[token])
        heapq.heappush(heap, (-score, token, len(picks)))
    return picks, computed


def risen(matrix: Tensor, picks: list[int]) -> int:
    """Rows whose running maximum rises, over all picks: each costs the incremental way N numbers."""
    best, count = torch.zeros(len(matrix), dtype=torch.float64), 0
    for token in picks:
        count += int((matrix[:, token] > best).sum())
        best = best.maximum(matrix[:, token])
    return count


def laziness(features: Tensor, saliency: Tensor) -> str:
    """How many vectors of N numbers each way of exact greedy goes through."""
    rows = []
    for label in COMBINERS:
        for keep in KEEP:
            lazy, incremental = [], []
            for image, given in zip(features, saliency, strict=True):
                matrix = cosines(image)
                weight = given.double() if label != "coverage alone" else torch.ones(len(given)).double()
                picks, computed = lazily(matrix, weight, keep)
                lazy.append(computed)
                incremental.append(len(matrix) + risen(matrix, picks))
            full = features.shape[1] * keep
            rows.append(f"| {label} | {keep} | {full:,} | {mean(lazy):,.0f} | {mean(incremental):,.0f} |")
    head = "| score | K | all gains at each pick | lazy | incremental (here) |"
    return "\n".join([head, "|---|--:|--:|--:|--:|", *rows])


if __name__ == "__main__":
    given = photographs()
    print(approximations(*given), laziness(*given), sep="\n\n")

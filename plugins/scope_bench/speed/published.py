"""Published methods as plain torch functions, written from their formulas, to compare recipes with.

Each takes the tensors that the recipe of its name reads, of one image, and returns (K,) picks, or (K, D) rows where the
method merges. They check nothing and settle ties as torch does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from scope_bench.speed.baselines import plain_loop

FRAMES = 8
"""Frames of a video, for `evs`."""

Given = Mapping[str, Tensor]
"""The tensors that a method reads: ``features`` (N, D), and signals by name (`scope_core.structures.signals`)."""


def ranked(attention: Tensor, keep: int) -> Tensor:
    """The tokens of highest attention, in raster order."""
    return attention.topk(keep).indices.sort().values


def fastervlm(given: Given, keep: int) -> Tensor:
    """FasterVLM, arXiv 2412.01818v1: attention from CLS, mean over heads."""
    return ranked(given["vision.cls_attention[-2]"].mean(0), keep)


def scope(given: Given, keep: int) -> Tensor:
    """SCOPE, arXiv 2510.24214: see `baselines.plain_loop`."""
    return plain_loop(given["features"], given["vision.cls_attention[-2]"].mean(0), keep)


def divprune(given: Given, keep: int) -> Tensor:
    """DivPrune, arXiv 2503.02175: the largest distance to the nearest kept token, from the most isolated one on."""
    unit = normalize(given["features"], dim=-1)
    distance = 1 - unit @ unit.T
    nearest = distance.topk(2, dim=0, largest=False).values[1]
    picks = [nearest.argmax()]
    nearest = distance[picks[0]]
    for _ in range(keep - 1):
        picks.append(nearest.argmax())
        nearest = torch.minimum(nearest, distance[picks[-1]])
    return torch.stack(picks)


def visionzip(given: Given, keep: int) -> Tensor:
    """VisionZip, arXiv 2412.04467: tokens CLS attends to; every few of the rest, which the others are merged into."""
    features, attention, keys = (given[name] for name in ("features", "vision.cls_attention[-2]", "vision.keys[-2]"))
    keep -= 1  # CLS is a row
    context = max(1, round(keep / 6.4))
    top = attention.sum(0).topk(keep - context).indices
    rest = torch.ones(len(features), dtype=torch.bool)
    rest[top] = False
    unit = normalize(keys.mean(0)[rest], dim=-1)
    targets = torch.arange(0, len(unit), max(1, len(unit) // context))[:context]
    others = torch.ones(len(unit), dtype=torch.bool)
    others[targets] = False
    nearest = (unit[others] @ unit[targets].T).argmax(1)
    member = one_hot(nearest, len(targets)).to(features.dtype)
    share = member / member.sum(0).clamp(min=1)
    rows = features[rest]
    merged = rows[targets] + share.T @ rows[others]
    return torch.cat([given["vision.cls[-2]"][:1], features[top.sort().values], merged])


def tome(given: Given, keep: int) -> Tensor:
    """ToMe, arXiv 2210.09461: even tokens matched to odd ones by keys; the closest merged by size until K are left."""
    rows, metric = given["features"], given["vision.keys[-2]"].mean(0)
    size = rows.new_ones(len(rows), 1)
    while len(rows) > keep:
        unit = normalize(metric, dim=-1)
        gone = min(len(rows) - keep, len(rows) // 2)
        best, match = (unit[::2] @ unit[1::2].T).max(1)
        order = best.argsort(descending=True)
        lost, stay, into = order[:gone], order[gone:].sort().values, match[order[:gone]]
        merged = []
        for value in (rows * size, metric * size, size):
            odd = value[1::2].clone().index_add_(0, into, value[::2][lost])
            merged.append(torch.cat([value[::2][stay], odd]))
        size = merged[2]
        rows, metric = merged[0] / size, merged[1] / size
    return rows


def holov(given: Given, keep: int) -> Tensor:
    """HoloV, arXiv 2510.02912: 16 bands share K by attention and variance of similarity; in each, the highest."""
    features, attention = given["features"], given["vision.cls_attention[-2]"].mean(0)
    bands, scores = torch.arange(len(features)).tensor_split(16), []
    for band in bands:
        unit = normalize(features[band], dim=-1)
        others = (unit @ unit.T)[~torch.eye(len(band), dtype=torch.bool)].view(len(band), -1)
        variance = others.var(1, unbiased=False)
        scores.append((attention[band] + 0.09 * variance * attention[band].mean() / variance.mean()).mean())
    share = torch.stack(scores) / sum(scores)
    counts = (share * keep).floor().long()
    counts[share.argsort(descending=True)[: keep - int(counts.sum())]] += 1
    return torch.cat([b[attention[b].topk(int(k)).indices] for b, k in zip(bands, counts, strict=True)])


def hiprune(given: Given, keep: int) -> Tensor:
    """HiPrune, arXiv 2508.00553: anchors of a middle layer with their neighbours, then the rest by a deep layer."""
    middle, deep = (given[f"vision.received_attention[{layer}]"].mean(0) for layer in (9, -2))
    side = int(len(middle) ** 0.5)
    anchors = middle.topk(round(0.1 * keep / 5)).indices
    row, col = anchors // side, anchors % side
    inside = torch.stack([row > 0, row < side - 1, col > 0, col < side - 1])
    around = torch.stack([anchors - side, anchors + side, anchors - 1, anchors + 1])[inside]
    first = torch.unique(torch.cat([anchors, around]))
    rest = deep.index_fill(0, first, -torch.inf).topk(keep - len(first)).indices
    return torch.cat([first, rest]).sort().values


def vispruner(given: Given, keep: int) -> Tensor:
    """VisPruner, arXiv 2412.01818v2: half by attention, half by dropping 8 of the most similar others a round."""
    features, attention = given["features"], given["vision.cls_attention[-2]"].mean(0)
    order = attention.argsort(descending=True)
    top, line = order[: keep // 2], order[keep // 2 :]
    unit = normalize(features, dim=-1)
    while len(line) > keep - keep // 2:
        gone = min(8, len(line) - (keep - keep // 2))
        alike = (unit[line[::2]] @ unit[line[1::2]].T).amax(1)
        line = torch.cat([line[::2][alike.argsort(descending=True)[gone:]], line[1::2]])
    return torch.cat([top, line]).sort().values


def evs(given: Given, keep: int) -> Tensor:
    """EVS, arXiv 2510.14624: the first of `FRAMES` frames, and the tokens that changed most since the frame before."""
    frames = given["features"].view(FRAMES, -1, given["features"].shape[1])
    change = 1 - torch.cosine_similarity(frames[1:], frames[:-1], dim=-1)
    change = torch.cat([torch.full_like(change[:1], 255), change]).flatten()
    return change.argsort(descending=True, stable=True)[:keep].sort().values


def determinant(kernel: Tensor, keep: int) -> Tensor:
    """Greedy picks by the determinant of the kernel, with one Cholesky row a pick (Chen et al. 2018)."""
    left, rows = kernel.diagonal().clone(), kernel.new_zeros(keep, len(kernel))
    picks = []
    for step in range(keep):
        pick = left.argmax()
        row = (kernel[pick] - rows[:step, pick] @ rows[:step]) / left[pick].sqrt()
        rows[step] = row
        left -= row.square()
        left[pick] = -torch.inf
        picks.append(pick)
    return torch.stack(picks)


def cdpruner(given: Given, keep: int) -> Tensor:
    """CDPruner, arXiv 2506.10967: the determinant of similarities weighted by relevance."""
    unit = normalize(given["features"].float(), dim=-1)
    relevance = -given["clip.text_similarity"].mean(0)
    relevance = (relevance - relevance.min() + 1e-6) / (relevance.max() - relevance.min())
    return determinant(relevance[:, None] * (unit @ unit.T) * relevance, keep).sort().values


def mmtok(given: Given, keep: int) -> Tensor:
    """MMTok, arXiv 2508.18264: coverage of the words, and half of it of the image, from softmaxed cosines."""
    tokens, words, tower = (normalize(given[n], dim=-1) for n in ("features", "text.embeddings", "vision.hidden[-2]"))
    text, image = (words @ tokens.T / 0.02).softmax(1), (tower @ tower.T / 0.2).softmax(1)
    covered = [text.new_zeros(len(text)), image.new_zeros(len(image))]
    free = torch.ones(len(tokens), dtype=torch.bool)
    picks = []
    for _ in range(keep):
        gains = [(s - c[:, None]).clamp(min=0).mean(0) for s, c in zip((text, image), covered, strict=True)]
        pick = (gains[0] + 0.5 * gains[1]).masked_fill(~free, -torch.inf).argmax()
        free[pick] = False
        covered = [torch.maximum(c, s[:, pick]) for s, c in zip((text, image), covered, strict=True)]
        picks.append(pick)
    return torch.stack(picks)


def fastv(given: Given, keep: int) -> Tensor:
    """FastV, arXiv 2403.06764: attention that each image token receives in the second layer, mean over heads."""
    return ranked(given["decoder.received_attention[1]"].mean(0), keep)


def adts(given: Given, keep: int) -> Tensor:
    """FlashVID's attention and diversity, SCoRe: attention times distance to the nearest kept token."""
    unit, attention = normalize(given["features"], dim=-1), given["vision.cls_attention[-2]"].mean(0)
    distance = 1 - unit @ unit.T
    nearest, picks = torch.ones_like(attention), []
    for _ in range(keep):
        picks.append((nearest * attention).argmax())
        nearest = torch.minimum(nearest, distance[picks[-1]])
    return torch.stack(picks)


def gprune(given: Given, keep: int) -> Tensor:
    """G-Prune, AAAI 2025: five steps of the tokens' norms over a graph of similar tokens, over their neighbours."""
    features = given["features"]
    unit = normalize(features, dim=-1)
    alike = unit @ unit.T
    edges = alike >= 0.5
    passed = (alike / 0.03).masked_fill(~edges, -torch.inf).softmax(1)
    score = features.norm(dim=-1)
    for _ in range(5):
        score = score @ passed
    return ranked(score / edges.sum(1), keep)


def prumerge(given: Given, keep: int) -> Tensor:
    """PruMerge, arXiv 2403.15388: tokens CLS attends to, each with its 32 nearest by keys, weighted by attention."""
    features, heads = given["features"], given["vision.cls_attention[-2]"]
    cls = (1 - heads.sum(1)).clamp(min=1e-38)  # the heads' softmaxes as one of a single head of their full width
    logits = torch.cat([cls[:, None], heads], 1).log().sum(0) / len(heads) ** 0.5
    attention = logits.softmax(0)[1:]
    keys = given["vision.keys[-2]"]
    unit = normalize(keys.transpose(0, 1).flatten(1), dim=-1)
    kept = attention.topk(keep).indices.sort().values
    alike = unit[kept] @ unit.T
    alike[torch.arange(keep), kept] = -torch.inf
    near = alike.topk(min(32, len(features) - 1)).indices
    added: Tensor = (features[near] * attention[near][..., None]).sum(1)
    return features[kept] + added


METHODS: dict[str, Callable[[Given, int], Tensor]] = {
    method.__name__: method
    for method in (
        *(scope, divprune, cdpruner, mmtok, adts, gprune, fastervlm, fastv, hiprune, holov, vispruner),
        *(visionzip, prumerge, tome, evs),
    )
}
"""The published methods by the name of their recipe: those that pick, and those that also merge or read frames."""

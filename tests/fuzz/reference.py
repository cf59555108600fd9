"""A slow float64 reference for greedy selection, from the published formulas of the parts that it knows.

Nothing here imports the package under test: specs come in as plain tables, tokens as arrays. Every step computes the
gain of every token from the whole similarity matrix again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import oracles
import oracles_sets as sets
from oracles_sets import Array

Table = Mapping[str, Any]


class Unknown(Exception):  # no error: the reference has no formula for a part
    """A part that the reference does not know, or numbers that it cannot judge."""


@dataclass(frozen=True)
class Group:
    """Tokens that are selected together, without padding.

    Attributes:
        features: (N, D).
        signals: By name, with the token axis cut to N.
        row, col, tile: (N,).
        required: (N,) bool.
        saliency: (N,) as the caller gave it, or None.
    """

    features: Array
    signals: Mapping[str, Array]
    row: Array
    col: Array
    tile: Array
    required: Array
    saliency: Array | None = None

    def signal(self, name: str) -> Array:
        return np.asarray(self.signals[name], dtype=np.float64)


def shortfalls(parts: Table, group: Group, picks: Sequence[int], every: int = 1) -> list[tuple[float, float]]:
    """For each pick, how far its score is from the best score at that time, and the size of the scores."""
    score = scorer(parts, group)
    found, now = [], np.zeros(len(group.features))
    for step, pick in enumerate(picks):
        if step % every == 0:
            now = score(list(picks[:step]))
        left = [token for token in range(len(now)) if token not in picks[:step]]
        left = [token for token in left if group.required[token]] or left
        if pick not in left:
            raise AssertionError(f"pick {step} is {pick}, but only {left} may be picked")
        found.append((float(max(now[token] for token in left) - now[pick]), float(np.abs(now).max())))
    return found


def scorer(parts: Table, group: Group) -> Callable[[list[int]], Array]:
    """``picks so far -> (N,) scores`` of the composite selector."""
    combiner = parts["combiner"]
    name = combiner["name"]
    weigh = None if name == "coverage_only" else saliency(parts["saliency"], group)
    if name == "saliency_only":
        assert weigh is not None
        return lambda picks: weigh
    matrix: Array | None = None
    if reads_similarity(parts["coverage"]):
        matrix = similarity(parts["similarity"], group)
        if name == "kernel":
            assert weigh is not None
            theta = combiner["theta"]
            r = weigh if theta is None else np.exp(theta / (2 * (1 - theta)) * weigh)
            matrix = combiner["share"] * r[:, None] * matrix * r[None] + (1 - combiner["share"]) * matrix
    gain = coverage(parts["coverage"], matrix, group, positive=name in ("coverage_only", "kernel"))
    if name in ("coverage_only", "kernel"):
        return gain
    assert weigh is not None
    if name == "product":
        return lambda picks: gain(picks) * weigh ** combiner["alpha"]
    if name == "balance":
        return lambda picks: combiner["share"] * weigh + (1 - combiner["share"]) * gain(picks)
    if name == "sum":
        size = {"none": 1.0, "max": weigh.max(), "sum": weigh.sum(), "mean": weigh.mean()}[combiner["normaliser"]]
        return lambda picks: gain(picks) + (weigh / (size or 1.0)) ** combiner["alpha"]
    raise Unknown(name)


def saliency(part: Table, group: Group) -> Array:
    """(N,)"""
    name = part["name"]
    signal = {
        "cls_attention": "vision.cls_attention[{layer}]",
        "received_attention": "vision.received_attention[{layer}]",
        "prompt_attention": "decoder.{family}[{layer}]",
        "key_norm": "{of}",
    }.get(name)
    if signal is not None and group.saliency is not None:
        return group.saliency
    if part.get("first") == "heads":
        return group.signal(f"vision.mean_attention[{part['layer']}]")
    if name in ("cls_attention", "received_attention", "prompt_attention"):
        family = {"last": "last_query_attention", "text": "text_attention"}.get(
            part.get("queries", ""), "received_attention"
        )
        attention = group.signal(signal.format(family=family, **part))  # type: ignore[union-attr]
        if family == "text_attention":
            attention = attention.sum(1) / max(1, int(attention.any((0, 2)).sum()))
        return getattr(np, part["heads"])(attention, axis=0)
    if name == "key_norm":
        keys = np.abs(group.signal(part["of"])) ** part["order"]
        if part["heads"] == "concat":
            return keys.sum((0, 2)) ** (1 / part["order"])
        return getattr(np, part["heads"])(keys.sum(2) ** (1 / part["order"]), axis=0)
    if name == "uniform":
        return np.ones(len(group.features))
    if name == "feature_norm":
        return (np.abs(group.features) ** part["order"]).sum(1) ** (1 / part["order"])
    if name == "scaled" and part["over"] == "group":
        return scaled(saliency(part["of"], group), part["scale"], part["offset"])
    if name == "similarity_variance":
        matrix = similarity(part["similarity"], group)
        spread = np.array([others(column, j) for j, column in enumerate(matrix.T)])
        if part["base"] is None:
            return spread
        base = saliency(part["base"], group)
        return base + part["weight"] * spread * (np.abs(base).mean() / spread.mean() if spread.any() else 0.0)
    if name == "blend":
        sources = [scaled(saliency(one, group), part["scale"], 0.0) for one in part["of"]]
        weights = part["weights"] or [1.0] * len(sources)
        if part["how"] == "product":
            return np.prod([source**weight for source, weight in zip(sources, weights, strict=True)], axis=0)
        join = {"sum": np.sum, "max": np.max, "min": np.min}[part["how"]]
        return join([source * weight for source, weight in zip(sources, weights, strict=True)], axis=0)
    raise Unknown(name)


def others(column: Array, token: int) -> float:
    """The variance of a token's similarities to the others."""
    rest = np.delete(column, token)
    return float(((rest - rest.mean()) ** 2).mean()) if len(rest) else 0.0


def scaled(score: Array, how: str, offset: float) -> Array:
    """Scores on a common scale."""
    if how == "none":
        return score
    if how == "min_max":
        low, high = score.min(), score.max()
        if 0 < high - low < 1e-5 * max(abs(high), abs(low)):
            raise Unknown("scores that are equal up to rounding")
        return (score - low + offset) / (high - low) if high > low else np.ones_like(score)
    if how == "rank":
        if len(score) == 1:
            return np.ones(1)
        gaps = np.diff(np.sort(score))
        if ((gaps > 0) & (gaps < 1e-5 * np.abs(score).max())).any():
            raise Unknown("ranks of scores that are equal up to rounding")
        return np.array([(score < a).sum() + ((score == a).sum() - 1) / 2 for a in score]) / (len(score) - 1)
    size = getattr(np, how)(score)
    return score / size if size else score


def reads_similarity(part: Table) -> bool:
    if part["name"] == "stacked":
        return any(map(reads_similarity, part["of"]))
    return part["name"] not in ("modular", "text_facility_location")


def similarity(part: Table, group: Group) -> Array:
    """(N, N)"""
    name = part["name"]
    if name == "cosine":
        return oracles.cosine_matrix(group.features)
    if name == "dot":
        products = oracles.dot_matrix(group.features)
        return products / math.sqrt(group.features.shape[1]) if part["scaled"] else products
    if name in ("keys_cosine", "keys_dot"):
        keys = group.signal(f"vision.keys[{part['layer']}]")
        vectors = keys.mean(0) if part["heads"] == "mean" else np.concatenate(list(keys), axis=1)
        return oracles.cosine_matrix(vectors) if name == "keys_cosine" else oracles.dot_matrix(vectors)
    if name == "signal_cosine":
        return oracles.cosine_matrix(group.signal(part["of"]))
    if name == "spatial":
        far = (group.row[:, None] - group.row) ** 2 + (group.col[:, None] - group.col) ** 2.0
        scale = part["scale"]
        near = np.exp(-far / (2 * scale**2)) if part["kernel"] == "gaussian" else np.exp(-np.sqrt(far) / scale)
        return near * (group.tile[:, None] == group.tile)
    if name == "row_softmax":
        shares = sets.softmax_rows(similarity(part["of"], group), part["temperature"])
        return shares / len(shares) if part["joint"] else shares
    if name == "without_negatives":
        matrix = similarity(part["of"], group)
        return np.maximum(matrix, 0.0) if part["how"] == "clamp" else (1 + matrix) / 2
    if name == "blend":
        matrices = [similarity(one, group) for one in part["of"]]
        if part["how"] == "product":
            return np.prod(matrices, axis=0)
        weights = np.array(part["weights"] or [1.0] * len(matrices))
        return sum(weight * matrix for weight, matrix in zip(weights / weights.sum(), matrices, strict=True))
    raise Unknown(name)


def coverage(part: Table, matrix: Array | None, group: Group, *, positive: bool) -> Callable[[list[int]], Array]:
    """``picks so far -> (N,) gains``; with ``positive``, any function that grows with them will do."""
    name, count = part["name"], len(group.features)
    if name == "modular":
        return lambda picks: np.ones(count)
    if name == "text_facility_location":
        return gains_of(sets.text_facility_location, words(part, group), count, 1.0)
    if name == "stacked":
        weights = part["weights"] or [1.0] * len(part["of"])
        inner = [coverage(one, matrix, group, positive=False) for one in part["of"]]
        return lambda picks: np.array(sum(w * gain(picks) for w, gain in zip(weights, inner, strict=True)))
    assert matrix is not None
    if name == "max_min":
        return lambda picks: nearest(matrix, picks)
    if name == "redundancy":
        return lambda picks: -matrix[:, picks].max(1) if picks else np.zeros(count)
    if name == "facility_location":
        weights = saliency(part["weights"], group)[:, None] if part.get("weights") else 1.0
        return gains_of(sets.facility_location, weights * matrix, count)
    if name == "graph_cut":
        return gains_of(sets.graph_cut, matrix, count, part["balance"])
    if name == "saturated":
        return gains_of(sets.saturated, matrix, count, part["share"])
    if name == "theta_cover":
        if (np.abs(matrix - part["theta"]) < 1e-4 * max(1.0, part["theta"])).any():
            raise Unknown("similarities at the threshold")
        return gains_of(sets.theta_cover, matrix, count, part["theta"])
    if name == "log_det" and positive:
        return lambda picks: variances(matrix + part["ridge"] * np.eye(count), picks)
    raise Unknown(name)


def gains_of(function: Callable[..., float], matrix: Array, count: int, *more: float) -> Callable[[list[int]], Array]:
    """Gains of a set function by its definition."""
    if function is sets.text_facility_location:
        scale, more = more[0], ()
    else:
        scale = 1.0

    def gains(picks: list[int]) -> Array:
        before = function(matrix, picks, *more)
        return scale * np.array([function(matrix, [*picks, j], *more) - before for j in range(count)])

    return gains


def words(part: Table, group: Group) -> Array:
    """(M, N) how like each word of the text is to each token."""
    text = group.signal("text.embeddings")
    vectors = group.features if part["against"] == "features" else group.signal(part["against"])
    cosines = sets.cosines_between(text[(text != 0).any(1)], vectors)
    if part["temperature"] is not None:
        cosines = sets.softmax_rows(cosines, part["temperature"])
    return cosines * len(cosines) if part["rows"] == "sum" else cosines


def nearest(matrix: Array, picks: list[int]) -> Array:
    """Distance to the nearest pick; to the nearest other token before the first."""
    distance = 1 - matrix
    if picks:
        return distance[picks].min(0)
    if len(matrix) == 1:
        return np.zeros(1)
    return np.array([np.delete(column, j).min() for j, column in enumerate(distance.T)])


def variances(kernel: Array, picks: list[int]) -> Array:
    """``det(L_{A + j}) / det(L_A)``, the exponential of log_det's gain; what depends on picks has none."""
    if not picks:
        return kernel.diagonal().copy()
    inner = kernel[np.ix_(picks, picks)]
    if np.linalg.cond(inner) > 1e6:
        raise Unknown("a kernel that is nearly singular")
    return kernel.diagonal() - np.einsum("an,an->n", kernel[picks], np.linalg.solve(inner, kernel[picks]))


def counts(budget: Table, tiles: Sequence[Sequence[int]]) -> list[int]:
    """Tokens to keep of each image, one group per image, from the definition of the usual budgets."""
    name, per = budget["name"], budget.get("per", "image")
    if name not in ("tokens", "ratio") or per == "total" or budget.get("tiles") == "floor":
        raise Unknown(name)
    made = []
    for image in tiles:
        units = [sum(image)] if per == "image" else list(image)
        made.append(sum(whole(budget, size) for size in units))
    return made


def whole(budget: Table, size: int) -> int:
    return min(budget["keep"], size) if budget["name"] == "tokens" else math.floor(budget["keep_ratio"] * size + 0.5)

"""Slow, obvious float64 references ("oracles") that the fast paths must agree with.

Nothing here imports the package under test or torch, and nothing is incremental: every greedy step looks at
the whole similarity matrix again. Rules shared by every function:

* Arrays come in as anything `numpy.asarray` accepts and are computed in float64, whatever their dtype.
* `similarity[i, j]` says how well candidate `j` (column) represents token `i` (row). The methods use a
  symmetric matrix, so this matters only to tests with an asymmetric one.
* Picks come back as `list[int]` in the order they were picked. Ties go to the lowest index.
* `valid` (N,) bool marks real tokens. Invalid ones are neither picked nor counted, and may hold NaN.
* Impossible requests (k > number of valid tokens, NaN in a valid place, ...) raise `ValueError`.
* Sums use `math.fsum`, correctly rounded and so independent of order: a tie in exact arithmetic stays a tie.

Formulas: SCOPE, arXiv 2510.24214 (set-coverage, token-coverage gain, SCOPE score; Definition 1,
theta-coverage) and DivPrune, arXiv 2503.02175 (Max-Min Diversity Problem and its greedy solution). They are
cited by the papers' names for them, not by equation number. SCOPE's floor of zero under the running maximum
comes from its official code; the paper's text does not state it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# ----------------------------------------------------------------------------------------------------------
# Similarity
# ----------------------------------------------------------------------------------------------------------


def cosine_matrix(features: npt.ArrayLike) -> Array:
    """Cosine similarity of every pair of rows, sim(u, v) in SCOPE (2510.24214) and DivPrune (2503.02175).

    A row with zero norm has similarity 0 to everything, itself included. Any other row has similarity exactly
    1 to itself and to its bitwise copies; copies have bitwise equal columns. All values lie in [-1, 1].

    Args:
        features: (N, D).

    Returns:
        (N, N), exactly symmetric.
    """
    rows = _matrix(features, "features")
    unit = np.zeros_like(rows)
    for i, row in enumerate(rows):
        largest = np.abs(row).max(initial=0.0)
        if largest != 0.0:
            with np.errstate(invalid="ignore"):  # NaN or inf in a row stays there, as NaN
                scaled = row / largest  # so that the squares neither overflow nor underflow
            unit[i] = scaled / math.sqrt(math.fsum(scaled * scaled))
    similarity = np.clip(dot_matrix(unit), -1.0, 1.0)
    for i, row in enumerate(unit):
        if np.any(row != 0.0):
            similarity[(unit == row).all(axis=1), i] = 1.0
    return similarity


def dot_matrix(features: npt.ArrayLike) -> Array:
    """Inner product of every pair of rows.

    Written without a matrix product on purpose: BLAS may give two equal columns different last bits.

    Args:
        features: (N, D).

    Returns:
        (N, N), exactly symmetric.
    """
    rows = _matrix(features, "features")
    products = np.empty((len(rows), len(rows)))
    for i, row in enumerate(rows):
        products[:, i] = (rows * row).sum(axis=1)
    return products


# ----------------------------------------------------------------------------------------------------------
# Selection
# ----------------------------------------------------------------------------------------------------------


def scope_picks(
    similarity: npt.ArrayLike,
    saliency: npt.ArrayLike,
    k: int,
    alpha: float = 1.0,
    combine: str = "product",
    valid: npt.ArrayLike | None = None,
) -> tuple[list[int], list[float], list[float]]:
    """Greedy selection by the SCOPE score (2510.24214: token-coverage gain, SCOPE score).

    With c_i = max(0, max over picks p of S_ip), so c_i = 0 before the first pick:

        gain_j  = sum over valid i of max(0, S_ij - c_i)
        score_j = gain_j * saliency_j ** alpha        combine="product"
        score_j = gain_j + saliency_j ** alpha        combine="sum"

    The token with the largest score among those left is picked. Because c starts at 0, a negative similarity
    never counts. Greedy has the (1 - 1/e) guarantee for coverage alone, not for gain times saliency.

    Args:
        similarity: (N, N).
        saliency: (N,), raised to `alpha`; 0 ** 0 is 1.
        k: how many to pick.
        alpha: weight of saliency.
        combine: "product" or "sum".
        valid: (N,) bool, or None for all.

    Returns:
        picks, and for each pick its gain and its score at the moment it was picked.
    """
    square, rows = _square(similarity, valid)
    weight = _weights(saliency, alpha, len(square), rows)
    _check_k(k, len(rows))
    picks: list[int] = []
    gains: list[float] = []
    scores: list[float] = []
    for _ in range(k):
        left = [j for j in rows if j not in picks]
        gain = _coverage_gains(square, rows, picks, left)
        score = [_combined(g, weight[j], combine) for g, j in zip(gain, left, strict=True)]
        best = _first_argmax(score)
        picks.append(left[best])
        gains.append(gain[best])
        scores.append(score[best])
    return picks, gains, scores


def scope_regrets(
    similarity: npt.ArrayLike,
    saliency: npt.ArrayLike,
    picks: Sequence[int],
    alpha: float = 1.0,
    combine: str = "product",
    valid: npt.ArrayLike | None = None,
) -> list[float]:
    """How far each of somebody else's picks was from the greedy choice, given that party's earlier picks.

    For judging float32 or half-precision paths, which may rightly part ways with `scope_picks` at a near tie
    and never meet again: their picks are greedy, up to rounding, when every regret is tiny beside the first
    score.

    Returns:
        For each pick, (largest score available) - (score of the pick), never negative.
    """
    square, rows = _square(similarity, valid)
    weight = _weights(saliency, alpha, len(square), rows)
    order = _kept(picks, rows)
    regrets: list[float] = []
    for step, pick in enumerate(order):
        left = [j for j in rows if j not in order[:step]]
        gain = _coverage_gains(square, rows, order[:step], left)
        score = [_combined(g, weight[j], combine) for g, j in zip(gain, left, strict=True)]
        regrets.append(max(score) - score[left.index(pick)])
    return regrets


def coverage_only_picks(
    similarity: npt.ArrayLike, k: int, valid: npt.ArrayLike | None = None
) -> tuple[list[int], list[float]]:
    """Greedy facility location: SCOPE (2510.24214) without saliency, its "coverage only" ablation.

    Written from the paper's form of the gain, sum_i [max(C_i, S_ij) - C_i], and sharing no arithmetic with
    `scope_picks`. Set-coverage floored at 0 is monotone and submodular, so the value of the picks is at
    least (1 - 1/e) of the best possible for the same k.

    Returns:
        picks, and each pick's gain; the gains add up to `facility_value(similarity, picks)`.
    """
    square, rows = _square(similarity, valid)
    _check_k(k, len(rows))
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        covered = np.array([max([0.0] + [square[i, p] for p in picks]) for i in rows])
        best, best_gain = -1, -math.inf
        for j in rows:
            if j in picks:
                continue
            gain = math.fsum((np.maximum(covered, square[rows, j]) - covered).tolist())
            if gain > best_gain:
                best, best_gain = j, gain
        picks.append(best)
        gains.append(best_gain)
    return picks, gains


def top_k_picks(score: npt.ArrayLike, k: int, valid: npt.ArrayLike | None = None) -> list[int]:
    """The k largest scores, largest first: SCOPE's "saliency only" ablation, FasterVLM and the like.

    Args:
        score: (N,).
        k: how many to pick.
        valid: (N,) bool, or None for all.
    """
    values = _vector(score, "score")
    rows = _rows(valid, len(values))
    _check_finite(values[rows], "score")
    _check_k(k, len(rows))
    return sorted(rows, key=lambda j: (-values[j], j))[:k]


def max_min_picks(
    similarity: npt.ArrayLike, k: int, valid: npt.ArrayLike | None = None
) -> tuple[list[int], list[float]]:
    """DivPrune (2503.02175): greedy solution of the Max-Min Diversity Problem under distance 1 - similarity.

    The first pick is the token whose nearest other token is farthest away; each later pick is the token
    farthest from its nearest pick. A token is never picked twice, even when every distance left is 0. A
    single token has no neighbour, so its first distance is inf.

    Args:
        similarity: (N, N) cosines.
        k: how many to pick.
        valid: (N,) bool, or None for all.

    Returns:
        picks, and for each pick the distance that won it.
    """
    square, rows = _square(similarity, valid)
    _check_k(k, len(rows))
    picks: list[int] = []
    distances: list[float] = []
    for _ in range(k):
        left = [j for j in rows if j not in picks]
        nearest = _nearest_distances(square, rows, picks, left)
        best = _first_argmax(nearest)
        picks.append(left[best])
        distances.append(nearest[best])
    return picks, distances


def max_min_regrets(similarity: npt.ArrayLike, picks: Sequence[int], valid: npt.ArrayLike | None = None) -> list[float]:
    """As `scope_regrets`, for `max_min_picks`: largest available distance minus the distance of the pick."""
    square, rows = _square(similarity, valid)
    order = _kept(picks, rows)
    regrets: list[float] = []
    for step, pick in enumerate(order):
        left = [j for j in rows if j not in order[:step]]
        nearest = _nearest_distances(square, rows, order[:step], left)
        mine = nearest[left.index(pick)]
        regrets.append(0.0 if mine == math.inf else max(nearest) - mine)
    return regrets


# ----------------------------------------------------------------------------------------------------------
# Judging a kept set
# ----------------------------------------------------------------------------------------------------------


def theta_coverage(
    features: npt.ArrayLike, kept: Sequence[int], theta: float, valid: npt.ArrayLike | None = None
) -> float:
    """Share of all valid tokens whose best cosine to a kept token is >= theta (2510.24214, Definition 1).

    Keeping nothing covers nothing. A zero-norm token has cosine 0 even to itself, so for theta > 0 it is
    not covered although it may be kept.
    """
    values = _matrix(features, "features")
    rows = _rows(valid, len(values))
    _check_finite(values[rows], "features")
    chosen = _kept(kept, rows)
    if not rows:
        raise ValueError("coverage of no tokens is undefined")
    similarity = cosine_matrix(np.nan_to_num(values, posinf=0.0, neginf=0.0))
    covered = [i for i in rows if any(similarity[i, j] >= theta for j in chosen)]
    return len(covered) / len(rows)


def saliency_share(saliency: npt.ArrayLike, kept: Sequence[int], valid: npt.ArrayLike | None = None) -> float:
    """Saliency of the kept tokens over saliency of all valid ones; NaN where the latter is 0."""
    values = _vector(saliency, "saliency")
    rows = _rows(valid, len(values))
    _check_finite(values[rows], "saliency")
    whole = math.fsum(values[rows])
    part = math.fsum(values[_kept(kept, rows)])
    return part / whole if whole != 0.0 else math.nan


def facility_value(similarity: npt.ArrayLike, kept: Sequence[int], valid: npt.ArrayLike | None = None) -> float:
    """Set-coverage (2510.24214): f(kept) = sum over valid i of max(0, max over kept j of S_ij)."""
    square, rows = _square(similarity, valid)
    chosen = _kept(kept, rows)
    return math.fsum(max([0.0] + [square[i, j] for j in chosen]) for i in rows)


# ----------------------------------------------------------------------------------------------------------
# Signals
# ----------------------------------------------------------------------------------------------------------


def cls_attention(q: npt.ArrayLike, k: npt.ArrayLike, scale: float) -> Array:
    """Attention of the CLS query to each patch, A = softmax(QK^T * scale) (2510.24214; scale = 1/sqrt(d)).

    The softmax runs over all M keys, CLS among them at index 0; the CLS column is dropped afterwards, so a
    row adds up to less than 1. SCOPE's saliency is the sum of the result over heads.

    Args:
        q: (H, d), the CLS query of each head.
        k: (H, M, d), keys of CLS and of the M - 1 patches.
        scale: multiplies the logits.

    Returns:
        (H, M - 1).
    """
    queries = np.asarray(q, dtype=np.float64)
    keys = np.asarray(k, dtype=np.float64)
    if queries.ndim != 2 or keys.ndim != 3 or queries.shape != (keys.shape[0], keys.shape[2]):
        raise ValueError(f"expected q (H, d) and k (H, M, d), got {queries.shape} and {keys.shape}")
    heads = [_softmax([scale * math.fsum(queries[h] * key) for key in keys[h]]) for h in range(len(keys))]
    return np.array(heads)[:, 1:]


def received_attention(q: npt.ArrayLike, k: npt.ArrayLike, prefix: int, scale: float) -> Array:
    """Attention each patch receives, averaged over ALL M queries, the prefix queries included.

    The softmax of every query runs over all M keys; the first `prefix` columns (CLS, registers) are dropped
    after the mean. The CLS-free saliency: HiPrune's (2508.00553) before its mean over heads.

    Args:
        q: (H, M, d).
        k: (H, M, d).
        prefix: number of leading tokens that are not patches; 0 for a tower without CLS.
        scale: multiplies the logits.

    Returns:
        (H, M - prefix).
    """
    queries = np.asarray(q, dtype=np.float64)
    keys = np.asarray(k, dtype=np.float64)
    if queries.ndim != 3 or queries.shape != keys.shape:
        raise ValueError(f"expected q and k of one shape (H, M, d), got {queries.shape} and {keys.shape}")
    if not 0 <= prefix <= keys.shape[1]:
        raise ValueError(f"prefix {prefix} is not within 0..{keys.shape[1]}")
    received = np.empty(keys.shape[:2])
    for h in range(len(keys)):
        attention = [_softmax((scale * (keys[h] * query).sum(axis=1)).tolist()) for query in queries[h]]
        received[h] = [math.fsum(column) / len(column) for column in zip(*attention, strict=True)]
    return received[:, prefix:]


# ----------------------------------------------------------------------------------------------------------
# Budget
# ----------------------------------------------------------------------------------------------------------


def apportion(total: int, sizes: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `sizes` by largest remainder, ties to the lowest index, exact in sum.

    All in integers. 640 over three tiles of 576 is 214 + 213 + 213. Where total <= sum(sizes) no part exceeds
    its size; a larger total is split all the same, for the caller to refuse.
    """
    whole = sum(sizes)
    if total < 0 or any(size < 0 for size in sizes) or (whole == 0 and total > 0):
        raise ValueError(f"cannot split {total} over sizes {list(sizes)}")
    if whole == 0:
        return [0] * len(sizes)
    shares = [total * size // whole for size in sizes]
    remainders = [total * size % whole for size in sizes]
    neediest = sorted(range(len(sizes)), key=lambda t: (-remainders[t], t))
    for t in neediest[: total - sum(shares)]:
        shares[t] += 1
    return shares


# ----------------------------------------------------------------------------------------------------------
# Helpers
# ----------------------------------------------------------------------------------------------------------


def _coverage_gains(square: Array, rows: list[int], picks: list[int], left: list[int]) -> list[float]:
    """Sum over i in rows of max(0, S_ij - c_i), for each j in left, from scratch."""
    floor = np.zeros((len(rows), 1))
    covered = np.hstack([floor, square[np.ix_(rows, picks)]]).max(axis=1) if picks else floor[:, 0]
    raised = np.maximum(0.0, square[np.ix_(rows, left)] - covered[:, None])
    return [math.fsum(column) for column in raised.T.tolist()]


def _nearest_distances(square: Array, rows: list[int], picks: list[int], left: list[int]) -> list[float]:
    """For each j in left: distance to the nearest pick or, before any pick, to the nearest other token."""
    return [float((1.0 - square[[i for i in (picks or rows) if i != j], j]).min(initial=math.inf)) for j in left]


def _combined(gain: float, weight: float, combine: str) -> float:
    if combine == "product":
        return gain * weight
    if combine == "sum":
        return gain + weight
    raise ValueError(f"combine must be 'product' or 'sum', got {combine!r}")


def _first_argmax(values: Sequence[float]) -> int:
    best = 0
    for t, value in enumerate(values):
        if value > values[best]:
            best = t
    return best


def _softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    powers = [math.exp(x - top) for x in logits]
    whole = math.fsum(powers)
    return [p / whole for p in powers]


def _weights(saliency: npt.ArrayLike, alpha: float, n: int, rows: list[int]) -> list[float]:
    values = _vector(saliency, "saliency")
    if len(values) != n:
        raise ValueError(f"{len(values)} saliencies for {n} tokens")
    _check_finite(values[rows], "saliency")
    with np.errstate(all="ignore"):
        weights = values**alpha
    _check_finite(weights[rows], f"saliency ** {alpha}")
    return [float(w) for w in weights]


def _square(similarity: npt.ArrayLike, valid: npt.ArrayLike | None) -> tuple[Array, list[int]]:
    square = _matrix(similarity, "similarity")
    if square.shape[0] != square.shape[1]:
        raise ValueError(f"similarity must be (N, N), got {square.shape}")
    rows = _rows(valid, len(square))
    _check_finite(square[np.ix_(rows, rows)], "similarity")
    return square, rows


def _rows(valid: npt.ArrayLike | None, n: int) -> list[int]:
    """Indices of the valid tokens, ascending."""
    if valid is None:
        return list(range(n))
    mask = np.asarray(valid)
    if mask.shape != (n,) or mask.dtype != np.bool_:
        raise ValueError(f"valid must be bool of shape ({n},), got {mask.dtype} of shape {mask.shape}")
    return [i for i in range(n) if mask[i]]


def _kept(kept: Sequence[int], rows: list[int]) -> list[int]:
    chosen = [int(j) for j in kept]
    if len(set(chosen)) != len(chosen) or not set(chosen) <= set(rows):
        raise ValueError(f"kept must be distinct valid indices, got {chosen}")
    return chosen


def _check_k(k: int, available: int) -> None:
    if not 0 <= k <= available:
        raise ValueError(f"cannot pick {k} of {available} tokens")


def _check_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or inf")


def _matrix(values: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two axes, got shape {array.shape}")
    return array


def _vector(values: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {array.shape}")
    return array

"""Mathematical properties, most of which parts declare."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from scope_core.testing.failures import PropertyViolation
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.run_tensors import Scene, gains
from scope_core.testing.parts.runs import differing, run, scene_of
from scope_core.testing.parts.stubs import cosine
from scope_core.testing.parts.subject import Subject

SLACK = 1e-7


def scores_are_never_negative(subject: Subject, case: Case) -> None:
    """No score is below 0, as `nonnegative` says."""
    scene = scene_of(subject, case)
    (plane,) = run(subject, scene).values()
    low = plane.values.masked_fill(~scene.tokens.valid, 0)
    if bool((low < 0).any()):
        raise PropertyViolation(f"score() gave {float(low.min()):.6g}, and `nonnegative` is True")


def similarity_is_symmetric(subject: Subject, case: Case) -> None:
    """S[i, j] is S[j, i], as `symmetric` says, up to rounding."""
    matrix, valid = _matrix(subject, case)
    odd = differing(matrix, matrix.mT) & valid
    if bool(odd.any()):
        group, row, col = (int(i) for i in odd.nonzero()[0])
        raise PropertyViolation(
            f"pairwise() gave {float(matrix[group, row, col]):.6g} for ({row}, {col}) and "
            f"{float(matrix[group, col, row]):.6g} for ({col}, {row}), and `symmetric` is True"
        )


def rows_are_columns(subject: Subject, case: Case) -> None:
    """S[i, j] is S[j, i] to the last bit, as `mirrored` says."""
    matrix, valid = _matrix(subject, case)
    odd = (matrix != matrix.mT) & valid
    if bool(odd.any()):
        group, row, col = (int(i) for i in odd.nonzero()[0])
        raise PropertyViolation(
            f"pairwise() gave numbers for ({row}, {col}) and ({col}, {row}) that differ by "
            f"{float(abs(matrix[group, row, col] - matrix[group, col, row])):.3g}, and `mirrored` is True"
        )


def values_stay_within_bounds(subject: Subject, case: Case) -> None:
    """No similarity lies outside `bounds`, up to rounding."""
    low, high = subject.part().bounds
    matrix, valid = _matrix(subject, case)
    values = matrix[valid]
    for limit, sign, word in ((low, 1, "below"), (high, -1, "above")):
        if limit is not None and bool((sign * (values - limit) < -1e-5 * max(1.0, abs(limit))).any()):
            worst = float((sign * values).min()) * sign
            raise PropertyViolation(f"pairwise() gave {worst:.6g}, {word} `bounds` {(low, high)}")


def gains_are_never_negative(subject: Subject, case: Case) -> None:
    """No gain is negative, whatever was picked before, as `monotone` says."""
    scene, order, made = _chain(subject, case)
    for step, gain in enumerate(made):
        free = _free(scene, order, step)
        if bool(((gain < -_slack(made)) & free).any()):
            group, token = (int(i) for i in ((gain < -_slack(made)) & free).nonzero()[0])
            raise PropertyViolation(
                f"token {token} of group {group} has gain {float(gain[group, token]):.6g} after picks "
                f"{order[group][:step]}, and `monotone` is True"
            )


def gains_never_grow(subject: Subject, case: Case) -> None:
    """No gain grows as the set grows, as `submodular` says."""
    scene, order, made = _chain(subject, case)
    for step, (before, after) in enumerate(pairwise(made), 1):
        grown = (after > before + _slack(made)) & _free(scene, order, step)
        if bool(grown.any()):
            group, token = (int(i) for i in grown.nonzero()[0])
            raise PropertyViolation(
                f"token {token} of group {group} gains {float(before[group, token]):.6g} after picks "
                f"{order[group][: step - 1]} and {float(after[group, token]):.6g} after {order[group][:step]}, and "
                f"`submodular` is True"
            )


def gains_belong_to_one_set_function(subject: Subject, case: Case) -> None:
    """The gains of `gain` and `add` are differences of one set function, in whatever order tokens are added."""
    scene = scene_of(subject, case)
    order = [row[:3] for row in scene.order()]
    straight = _gains(subject, scene, order)
    for turn in ([1, 0, 2], [2, 1, 0]):
        other = [[row[i] for i in turn if i < len(row)] for row in order]
        turned = _gains(subject, scene, other)
        for group, row in enumerate(order):
            one, two = _total(straight, row, group), _total(turned, other[group], group)
            left = _free(scene, order, len(row))[group]
            end = differing(turned[len(row)][group], straight[len(row)][group]) & left
            if bool(differing(torch.tensor(two), torch.tensor(one))) or bool(end.any()):
                raise PropertyViolation(
                    f"gain() and add() belong to no set function: picking {row} of group {group} gains {one:.6g} "
                    f"in all, and {two:.6g} in the order {other[group]}"
                    + (f"; then token {int(end.nonzero()[0])} has another gain" if bool(end.any()) else "")
                )


def start_is_the_empty_set(subject: Subject, case: Case) -> None:
    """`start` gives the empty set each time, and `gain` does not change the state."""
    scene = scene_of(subject, case)
    part = subject.part()
    matrix = cosine(scene.tokens, squared=part.nonnegative_similarity) if part.uses_similarity else None
    with torch.no_grad():
        state = part.start(matrix, scene.tokens)
        first, again = part.gain(state).clone(), part.gain(state).clone()
        part.add(state, torch.zeros(len(first), dtype=torch.int64))
        fresh = part.gain(part.start(matrix, scene.tokens))
    valid = scene.tokens.valid
    if bool((differing(again, first, exact=True) & valid).any()):
        raise PropertyViolation("gain() gave other numbers when called twice: it may read the state, not change it")
    if bool((differing(fresh, first, exact=True) & valid).any()):
        raise PropertyViolation(
            "start() does not give the empty set the second time: it shares memory with the earlier state"
        )


def gains_match_the_given_function(subject: Subject, case: Case) -> None:
    """Gains are differences of the set function that was given as `value`."""
    scene = scene_of(subject, case)
    order = [row[:3] for row in scene.order()]
    part = subject.part()
    matrix = cosine(scene.tokens, squared=part.nonnegative_similarity)
    function = subject.value
    if function is None:
        return
    for step, gain in enumerate(_gains(subject, scene, order)):
        for group, row in enumerate(order):
            chosen = row[:step]
            count = int(scene.tokens.valid[group].sum())
            block = matrix[group, :count, :count]
            for token in [t for t in range(count) if t not in chosen] if step <= len(row) else []:
                wanted = float(function(block, [*chosen, token])) - float(function(block, chosen))
                got = float(gain[group, token])
                if abs(got - wanted) > 1e-5 * max(1.0, abs(wanted)):
                    raise PropertyViolation(
                        f"gain() of token {token} after picks {chosen} of group {group} is {got:.6g}; "
                        f"f(A + token) - f(A) is {wanted:.6g}"
                    )


def affine_matches_combine(subject: Subject, case: Case) -> None:
    """`combine` gives gain times scale plus offset, if `affine` gives these."""
    scene = scene_of(subject, case)
    part, valid = subject.part(), scene.tokens.valid
    with torch.no_grad():
        prepared = part.prepare(scene.rank, scene.tokens)
        made = part.affine(prepared)
        for gain in (cosine(scene.tokens, squared=True).sum(1), -scene.rank, torch.zeros_like(scene.rank)):
            if made is not None:
                wanted = part.combine(gain, prepared)
                got = gain * made[0] + made[1]
                if bool((differing(got, wanted) & valid).any()):
                    raise PropertyViolation("gain * scale + offset of affine() is not what combine() gives")


def unused_inputs_change_nothing(subject: Subject, case: Case) -> None:
    """Saliency (gain) changes nothing if `uses_saliency` (`uses_coverage`) is False."""
    scene = scene_of(subject, case)
    part, tokens = subject.part(), scene.tokens
    gain, saliency = cosine(tokens, squared=True).sum(1), scene.rank
    with torch.no_grad():
        wanted = part.combine(gain, part.prepare(saliency, tokens))
        if not part.uses_saliency:
            other = part.combine(gain, part.prepare(1 - saliency, tokens))
            if bool((differing(other, wanted) & tokens.valid).any()):
                raise PropertyViolation("`uses_saliency` is False, and the score depends on it")
        if not part.uses_coverage:
            other = part.combine(gain + saliency, part.prepare(saliency, tokens))
            if bool((differing(other, wanted) & tokens.valid).any()):
                raise PropertyViolation("`uses_coverage` is False, and the score depends on the gain")


def _matrix(subject: Subject, case: Case) -> tuple[Tensor, Tensor]:
    scene = scene_of(subject, case)
    valid = scene.tokens.valid
    (plane,) = run(subject, scene).values()
    return plane.values, valid[:, :, None] & valid[:, None, :]


def _gains(subject: Subject, scene: Scene, order: Sequence[Sequence[int]]) -> list[Tensor]:
    with torch.no_grad():
        return [gain.double() for gain in gains(subject.part(), scene, order)]


def _chain(subject: Subject, case: Case) -> tuple[Scene, list[list[int]], list[Tensor]]:
    scene = scene_of(subject, case)
    order = [row[:4] for row in scene.order()]
    return scene, order, _gains(subject, scene, order)


def _free(scene: Scene, order: Sequence[Sequence[int]], step: int) -> Tensor:
    """(B, N) bool: valid tokens that are not among the first picks, in groups that made so many."""
    free = scene.tokens.valid.clone()
    for group, row in enumerate(order):
        free[group, list(row[:step])] = False
        if step > len(row):
            free[group] = False
    return free


def _total(made: Sequence[Tensor], row: Sequence[int], group: int) -> float:
    return sum(float(made[step][group, token]) for step, token in enumerate(row))


def _slack(made: Sequence[Tensor]) -> float:
    return SLACK * max([1.0, *(float(gain.abs().max()) for gain in made if gain.numel())])

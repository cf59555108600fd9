"""Fast paths: kernels of coverage functions give the picks of the loop; vectors of similarities give the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scope_core.engine.greedy import allowed
from scope_core.structures.blocks import Blocks
from scope_core.structures.picks import Picks
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.run_tensors import Scene, floats, picked, similarity_for
from scope_core.testing.parts.runs import differing, run, scene_of
from scope_core.testing.parts.subject import Subject

NEAR = 1e-9
"""Tolerance of gains, scores and the score of a pick in blocks, as a share of the largest gain."""
NEAR_SINGLE = 1e-5
"""The same for functions whose gains have less than float64 precision."""
SIZE = (2, 3)
"""Rows and columns of a block: small enough that a group has several, the last ones smaller."""


@dataclass(frozen=True)
class _Trial:
    """A selection problem for kernels.

    Attributes:
        about: Description for messages.
        tokens: The candidates.
        vectors: (B, N, D) float64 for blocks.
        matrix: (B, N, N); None for functions that read none.
        scale: (B, N) float64.
        offset: (B, N) float64.
        keep: Picks of each group.
    """

    about: str
    tokens: VisualTokens
    vectors: Tensor
    matrix: Tensor | None
    scale: Tensor
    offset: Tensor
    keep: tuple[int, ...]

    def of(self, group: int) -> _Trial:
        """One group alone, padded as before."""
        alone = slice(group, group + 1)
        tokens = self.tokens.only(group, self.tokens.shape[1]).to_dtype(torch.float64)
        return _Trial(
            self.about, tokens, self.vectors[alone], None, self.scale[alone], self.offset[alone], self.keep[alone]
        )


def kernel_picks_match_the_loop(subject: Subject, case: Case) -> None:
    """The kernel's `picks`, and those of its `mirrored` and `instead`, are those of the loop over `gain` and `add`."""
    scene = scene_of(subject, case)
    part = subject.part()
    for trial in _trials(part, scene):
        for kernel, name in _kernels(part.kernel):
            what = f"{name} with {trial.about}"
            with torch.no_grad():
                try:
                    if kernel.why_not(part, trial.tokens.device):
                        continue
                    made = kernel.picks(part, trial.matrix, trial.tokens, trial.scale, trial.offset, trial.keep)
                except Exception as error:  # third-party code may raise anything
                    raise PropertyViolation(f"{what} {raised(error)}") from error
                if made is not None:
                    _follow(part, trial, made, what, scene, near=0)


def _kernels(kernel: Any) -> Iterator[tuple[Any, str]]:
    """The kernel and those that it names, each with what messages call its picks."""
    for each, name in ((kernel, "picks()"), (kernel.instead, "picks() of `instead`")):
        if each is not None:
            yield each, name
            if each.mirrored is not None:
                yield each.mirrored, "picks() of `mirrored`" if each is kernel else "picks() of `instead.mirrored`"


def block_picks_match_the_loop(subject: Subject, case: Case) -> None:
    """The kernel's `picks_in_blocks` are those of the loop over `gain` and `add`, given the same similarities."""
    scene = scene_of(subject, case)
    part = subject.part()
    for group, alone in (
        (group, trial.of(group)) for trial in _trials(part, scene) for group in range(len(trial.keep))
    ):
        what = f"picks_in_blocks() of group {group} with {alone.about}"
        tokens = alone.tokens
        blocks = replace(Blocks.of(alone.vectors[0], tokens.valid[0]), size=SIZE)
        with torch.no_grad():
            try:
                made = part.kernel.picks_in_blocks(part, blocks, tokens, alone.scale, alone.offset, alone.keep[0])
            except Exception as error:  # third-party code may raise anything
                raise PropertyViolation(f"{what} {raised(error)}") from error
            matrix = torch.stack([blocks.row(torch.tensor(token)) for token in range(tokens.shape[1])])[None]
            _follow(part, replace(alone, matrix=matrix), made, what, scene, near=NEAR)


def vectors_match_pairwise(subject: Subject, case: Case) -> None:
    """Dot products of `vectors()`, if it returns any, are what `pairwise()` gives, up to rounding."""
    scene = scene_of(subject, case)
    tokens = scene.tokens
    with torch.no_grad():
        made = subject.part().vectors(tokens)
    if made is None:
        return
    width = made.shape[-1] if isinstance(made, Tensor) and made.dim() else 0
    mine = floats(made, (*tokens.shape[:2], width), "vectors()", scene)
    mine = mine.double().masked_fill(~tokens.valid[..., None], 0)
    if not bool(torch.isfinite(mine).all()):
        at = tuple(int(i) for i in (~torch.isfinite(mine)).nonzero()[0])
        raise PropertyViolation(f"vectors() is {float(mine[at])} at {list(at)}, for finite inputs")
    (plane,) = run(subject, scene).values()
    pairs = tokens.valid[:, :, None] & tokens.valid[:, None, :]
    products, matrix = mine @ mine.mT, plane.values.double().masked_fill(~pairs, 0)
    odd = differing(products, matrix) & ((products - matrix).abs() > 1e-5 * products.abs().amax((1, 2), keepdim=True))
    if bool(odd.any()):
        group, row, col = (int(i) for i in odd.nonzero()[0])
        raise PropertyViolation(
            f"the dot product of vectors() {row} and {col} of group {group} is {float(products[group, row, col]):.6g}; "
            f"pairwise() gave {float(matrix[group, row, col]):.6g}"
        )


def _trials(part: Any, scene: Scene) -> Iterator[_Trial]:
    """One problem whose scores nearly all differ; one with many equal scores, those of padding the highest."""
    tokens, rank = scene.tokens, scene.rank.double()
    unit = tokens.unit().double()
    unit = unit.abs() if part.nonnegative_similarity else unit
    required = tokens.require(rank < 0.3)
    least = (required.required & required.valid).sum(1).tolist()
    keep = scene.counts(0.7)
    most = tuple(map(max, keep, least))
    matrix = similarity_for(part, scene)
    yield _Trial("another scale for every token", required, unit, matrix, rank, (1 - rank) / 8, most)
    vectors = (4 * unit).round().div(4).masked_fill(~tokens.valid[..., None], 0)  # sums of products are exact
    matrix = (vectors @ vectors.mT).to(tokens.features.dtype) if part.uses_similarity else None
    high = torch.zeros_like(rank).masked_fill(~tokens.valid, 1e3)
    yield _Trial("equal scales", tokens, vectors, matrix, torch.ones_like(rank), high, keep)


def _follow(part: Any, trial: _Trial, made: Any, what: str, scene: Scene, near: float) -> None:
    """Refuse picks, gains and scores that differ from the loop's; a pick's score may be ``near`` below the highest."""
    tokens, rows = trial.tokens, picked(made, Picks, what, scene, trial.keep)
    state, left, size = part.start(trial.matrix, tokens), tokens.valid.clone(), 1.0
    for step in range(max(trial.keep)):
        gain = part.gain(state)
        rough = NEAR if gain.dtype == torch.float64 else NEAR_SINGLE
        size = max(size, float(gain[left].abs().nan_to_num(posinf=0).amax()) if bool(left.any()) else 0)
        score, free = gain * trial.scale + trial.offset, allowed(left, tokens.required)
        for group, count in enumerate(trial.keep):
            row, pick = rows[group].tolist(), int(rows[group, step])
            if step >= count:
                if pick != -1:
                    raise PropertyViolation(f"{what} gives {row}; expected {count} picks, then -1")
                continue
            _pick(what, row[:count], step, score[group].masked_fill(~free[group], -torch.inf), near * size)
            for name, got, wanted in (("gain", made.gains, gain), ("score", made.scores, score)):
                one, other = float(got[group, step]), float(wanted[group, pick])
                if not (one == other or abs(one - other) <= rough * size):
                    raise PropertyViolation(
                        f"{what} gives {row[:count]}, pick {step} with {name} {one:.10g}; expected {other:.10g}"
                    )
            left[group, pick] = False
        state = part.add(state, rows[:, step].clamp(min=0))


def _pick(what: str, row: Sequence[int], step: int, score: Tensor, near: float) -> None:
    """Refuse a pick without the highest score, or without the lowest index among equal scores."""
    pick, best = row[step], int(score.argmax())
    if not (0 <= pick < len(score) and float(score[pick]) > -torch.inf):
        raise PropertyViolation(
            f"{what} gives {row}; token {pick} may not be picked after {row[:step]}: it is padding, was picked "
            f"before, or comes before a required one"
        )
    first = int((score == score[pick]).int().argmax())
    if not float(score[pick]) >= float(score[best]) - near:
        raise PropertyViolation(
            f"{what} gives {row}; the loop over gain() and add() would pick {best} after {row[:step]}"
        )
    if first != pick:
        raise PropertyViolation(
            f"{what} gives {row}; tokens {first} and {pick} have the same score after {row[:step]}, and ties break to "
            f"the lowest index"
        )

"""Coverage functions with kernels that are broken on purpose, and what they should be caught by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from conformance.mutants import Cover, Metric, Mix
from scope_core.parts import Kernel, Picks

BOTH = ("kernel_picks_match_the_loop", "block_picks_match_the_loop")


class Rows(Kernel):
    """Both ways; correct."""

    def picks(self, coverage: Any, similarity: Any, tokens: Any, scale: Any, offset: Any, keep: Any) -> Any:
        """One group after the other."""
        most = max(keep)
        rows = []
        for group, count in enumerate(keep):
            alone = tokens.only(group, tokens.shape[1])
            row = self.row(coverage, similarity[group], alone, scale[group], offset[group], count)
            short = most - count
            rows.append([torch.cat([one, one.new_full((short,), fill)]) for one, fill in zip(row, FILL, strict=True)])
        return Picks(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def picks_in_blocks(self, coverage: Any, blocks: Any, tokens: Any, scale: Any, offset: Any, keep: int) -> Any:
        """The same."""
        row = self.row(coverage, self.matrix(blocks), tokens, scale[0], offset[0], keep)
        return Picks(*(one[None] for one in row))

    def matrix(self, blocks: Any) -> Any:
        """(N, N)."""
        made = blocks.own.new_zeros(len(blocks.own), len(blocks.own))
        for rows, columns, block in blocks.triangle():
            made[rows, columns], made[columns, rows] = block, block.T
        return made

    def row(self, coverage: Any, matrix: Any, tokens: Any, scale: Any, offset: Any, keep: int) -> Any:
        """(K,) picks, gains and scores."""
        picks, gains, scores = [], [], []
        left, state = self.open(tokens), coverage.start(matrix[None], tokens)
        for _ in range(keep):
            must = left & tokens.required[0]
            gain = coverage.gain(state)[0]
            score = (gain * scale + offset).masked_fill(~(must if bool(must.any()) else left), -torch.inf)
            pick = self.best(score)
            picks.append(pick)
            gains.append(gain[pick])
            scores.append(score[pick])
            left[pick] = False
            state = coverage.add(state, pick[None])
        return torch.stack(picks), *self.said(torch.stack(gains), torch.stack(scores))

    def open(self, tokens: Any) -> Any:
        """(N,) what may be picked."""
        return tokens.valid[0].clone()

    def best(self, score: Any) -> Any:
        """Ties go to the lowest index."""
        return score.argmax()

    def said(self, gains: Any, scores: Any) -> Any:
        """As they are."""
        return gains, scores


class AtOnce(Cover):
    """With a kernel; correct."""

    kernel = Rows()


class OtherGains(AtOnce):
    """Another function, also correct: what it inherits stands in for gains that are no longer its own."""

    def gain(self, state: Any) -> Any:
        """(B, N)."""
        return super().gain(state) * 2


FILL = (-1, torch.nan, torch.nan)


class HighestOfTies(Rows):
    """Ties go to the highest index."""

    def best(self, score: Any) -> Any:
        return len(score) - 1 - score.flip(0).argmax()


class TakesPadding(Rows):
    """Does not look at ``tokens.valid``."""

    def open(self, tokens: Any) -> Any:
        return torch.ones_like(tokens.valid[0])


class ForgetsRequired(Rows):
    """Picks by score alone."""

    def row(self, coverage: Any, matrix: Any, tokens: Any, scale: Any, offset: Any, keep: int) -> Any:
        free = replace(tokens, required=torch.zeros_like(tokens.required))
        return super().row(coverage, matrix, free, scale, offset, keep)


class TwiceTheGain(Rows):
    """Gains are doubled."""

    def said(self, gains: Any, scores: Any) -> Any:
        return gains * 2, scores


class NoGain(Rows):
    """Gains are no numbers."""

    def said(self, gains: Any, scores: Any) -> Any:
        return gains * torch.nan, scores


class GainForScore(Rows):
    """Scores are gains."""

    def said(self, gains: Any, scores: Any) -> Any:
        return gains, gains


class TiresOut(Rows):
    """From the 20th pick on it takes what comes."""

    def row(self, coverage: Any, matrix: Any, tokens: Any, scale: Any, offset: Any, keep: int) -> Any:
        picks, gains, scores = super().row(coverage, matrix, tokens, scale, offset, keep)
        return torch.cat([picks[:20], picks[20:].flip(0)]), gains, scores


class OneWay(Rows):
    """Blocks beside the diagonal count for their columns alone."""

    def matrix(self, blocks: Any) -> Any:
        made = blocks.own.new_zeros(len(blocks.own), len(blocks.own))
        for rows, columns, block in blocks.triangle():
            made[rows, columns] = block
        return made


class GoesOn(Rows):
    """Shorter rows are filled with token 0."""

    def picks(self, coverage: Any, similarity: Any, tokens: Any, scale: Any, offset: Any, keep: Any) -> Any:
        made = super().picks(coverage, similarity, tokens, scale, offset, keep)
        return Picks(made.picks.clamp(min=0), made.gains, made.scores)


class OffWithoutCompiler(Rows):
    """Correct, and names a kernel that is not."""

    instead = HighestOfTies()


def with_kernel(kernel: type[Rows]) -> type:
    """The same coverage function with another kernel."""
    return type(kernel.__name__, (Cover,), {"kernel": kernel(), "__doc__": kernel.__doc__})


class NoKernel(Cover):
    """Not an object with picks."""

    kernel: Any = "numba"


class NoNumbers(Metric):
    """Its vectors are no numbers."""

    def vectors(self, tokens: Any) -> Any:
        return tokens.features * torch.nan


class LessThanNothing(Metric):
    """Takes memory away."""

    matrices = -3


class InWords(Cover):
    """Not a number."""

    matrices: Any = "two"


class AsAFlag(Mix):
    """Not a count."""

    matrices = True


CORRECT: list[type] = [AtOnce, OtherGains]
BROKEN: list[tuple[type, str]] = [
    *(
        (with_kernel(target), way)
        for target in (HighestOfTies, TakesPadding, ForgetsRequired, TwiceTheGain, NoGain, GainForScore, TiresOut)
        for way in BOTH
    ),
    (with_kernel(OneWay), "block_picks_match_the_loop"),
    (with_kernel(GoesOn), "kernel_picks_match_the_loop"),
    (with_kernel(OffWithoutCompiler), "kernel_picks_match_the_loop"),
    (NoKernel, "attributes_can_be_read"),
    (NoNumbers, "vectors_match_pairwise"),
    (LessThanNothing, "attributes_can_be_read"),
    (InWords, "attributes_can_be_read"),
    (AsAFlag, "attributes_can_be_read"),
]

"""Selection without the N x N matrix: similarities that are dot products are computed a block at a time, when read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import frexp
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core.checks import blamed, expect
from scope_core.errors import PluginOutputError, SpecError, TooLargeError
from scope_core.interfaces import Combiner, CoverageFunction, Picks, SimilarityMetric, outdated
from scope_core.memory import conditions, said, shortage
from scope_core.structures.tokens import VisualTokens

if TYPE_CHECKING:
    from scope_core.engine import Problem

GRID = 26
"""Binary places of a vector's entries: products have 52, and partial sums of less than 2 are exact in float64."""
LONGEST = 1.25
"""No vector is longer, so no sum of products of two exceeds its square."""
EXACT = 1.5 * 2.0**52
"""Added and taken away, it rounds a small float64 to a whole number."""
TALL, WIDE = 512, 1024
"""Rows and columns of a block: 4 MB, which caches hold. Accelerators take 8 times as many of both."""
TILES = 4
"""Blocks that are held at once, at most."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Similarities of one group, computed from vectors a few rows at a time. Symmetric.

    An entry is the same number to the last bit in whatever block it is computed: vectors are rounded to multiples of
    2^-26 of their largest length, so that float64 products and all partial sums of them are exact, and no order of
    summation matters. Entries are then rounded to a grid on which sums of a column are exact too.

    Attributes:
        vectors: (N, C) float64 on the grid; padding is zero.
        own: (N,) float64, each token's similarity to itself; exactly 1 where rounding alone makes a difference.
        rounder: Rounds a dot product to the grid of entries.
        unit: Power of two that dot products are multiplied by.
        size: Rows and columns of a block, at most; None for what suits the device.
    """

    vectors: Tensor
    own: Tensor
    rounder: float
    unit: float
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, vectors: Tensor, valid: Tensor) -> Blocks:
        """Blocks of dot products.

        Args:
            vectors: (N, C) floating point.
            valid: (N,) bool; the others' vectors count as zero.

        Raises:
            PluginOutputError: a valid vector is not finite.
        """
        exact = vectors.detach().to(torch.float64, copy=True)
        exact[~valid] = 0
        longest = float(torch.linalg.vector_norm(exact, dim=1).amax()) if exact.numel() else 0.0
        if not longest < 1e150:
            raise PluginOutputError(f"a vector has length {longest}; expected finite numbers")
        power = max(frexp(longest / LONGEST)[1], -1000)
        rounder = EXACT * 2.0**-GRID
        exact.mul_(2.0**-power).add_(rounder).sub_(rounder)
        unit, coarse = 4.0**power, EXACT * 2.0 ** (1 + len(exact).bit_length() - 52)
        own = torch.einsum("nc,nc->n", exact, exact).add_(coarse).sub_(coarse).mul_(unit)
        return cls(exact, torch.where((own - 1).abs() < 2.0**-20, 1.0, own), coarse, unit)

    @staticmethod
    def why_not(metric: SimilarityMetric[Any], coverage: CoverageFunction[Any], combiner: Combiner[Any]) -> str:
        """Why parts cannot be selected by in blocks, in words; empty where they can."""
        if type(metric).vectors is SimilarityMetric.vectors or outdated(metric, "vectors", "pairwise"):
            return f"similarity {metric} is not known as a dot product of vectors"
        reads = type(coverage).picks_in_blocks is CoverageFunction.picks_in_blocks
        if reads or outdated(coverage, "picks_in_blocks", "start", "gain", "add"):
            return f"coverage {coverage} reads the whole matrix"
        if conditions(combiner):
            return f"combiner {combiner} changes the matrix"
        if type(combiner).affine is Combiner.affine or outdated(combiner, "affine", "combine"):
            return f"the score of combiner {combiner} is not of the form gain * scale + offset"
        return ""

    @property
    def spans(self) -> list[slice]:
        """Columns, a few at a time."""
        _, wide = self._size
        return [slice(start, min(start + wide, len(self.own))) for start in range(0, len(self.own), wide)]

    def row(self, token: Tensor) -> Tensor:
        """(N,) float64: the similarity of all tokens to one, a tensor of one index."""
        made = self._rounded(torch.mv(self.vectors, self.vectors.index_select(0, token.view(1))[0]))
        return made.scatter_(0, token.view(1), self.own.index_select(0, token.view(1)))

    def rows(self, index: Tensor) -> Iterator[tuple[Tensor, slice, Tensor]]:
        """``(rows, columns, block)`` for the given rows and all columns.

        A block may be written to; the next one takes its place.

        Args:
            index: (R,) int64.
        """
        room = self._room()
        for few in torch.split(index, self._size[0]):
            mine = self.vectors.index_select(0, few)
            for columns in self.spans:
                block = self._products(mine, self.vectors[columns], room)
                place = few - columns.start
                inside, place = (place >= 0) & (place < block.shape[1]), place.clamp(0, block.shape[1] - 1)[:, None]
                here = torch.where(inside, self.own[few], block.gather(1, place)[:, 0])
                yield few, columns, block.scatter_(1, place, here[:, None])

    def triangle(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """``(rows, columns, block)`` that hold every pair once: on the diagonal, where the two are equal, both ways.

        A block may be written to; the next one takes its place.
        """
        room = self._room()
        count, (tall, wide) = len(self.own), self._size
        for top in range(0, count, tall):
            rows = slice(top, min(top + tall, count))
            square = self._products(self.vectors[rows], self.vectors[rows], room)
            square.diagonal().copy_(self.own[rows])
            yield rows, rows, square
            for left in range(rows.stop, count, wide):
                columns = slice(left, min(left + wide, count))
                yield rows, columns, self._products(self.vectors[rows], self.vectors[columns], room)

    def _room(self) -> Tensor:
        """For one block after the other, so that no allocator has to find it anew."""
        count, (tall, wide) = len(self.own), self._size
        return self.own.new_empty(min(tall, count) * min(max(tall, wide), count))

    def _products(self, rows: Tensor, columns: Tensor, room: Tensor) -> Tensor:
        block = room[: len(rows) * len(columns)].view(len(rows), len(columns))
        return self._rounded(torch.mm(rows, columns.T, out=block))

    def _rounded(self, products: Tensor) -> Tensor:
        products.add_(self.rounder).sub_(self.rounder)
        return products.mul_(self.unit) if self.unit != 1 else products

    @property
    def _size(self) -> tuple[int, int]:
        times = 1 if self.vectors.device.type == "cpu" else 8
        return self.size or (TALL * times, WIDE * times)


def blocks_bytes(count: int, width: int, device: torch.device | str = "cpu", itemsize: int = 4) -> int:
    """Bytes that selecting in blocks takes: vectors as the similarity gives them and in float64, and some blocks.

    Args:
        count: Tokens of the largest group.
        width: Numbers of a token's vector.
        device: Where; accelerators take larger blocks.
        itemsize: Bytes of such a number.
    """
    times = 1 if torch.device(device).type == "cpu" else 8
    return (8 + itemsize) * count * width + 8 * TILES * min(TALL * times, count) * min(WIDE * times, count)


def picks(problem: Problem, form: tuple[Tensor, Tensor], keep: Sequence[int]) -> Picks:
    """Greedy's picks, one group after the other.

    Args:
        problem: What is optimized; its parts can be selected by in blocks.
        form: (B, N) float64 scale and offset of the score.
        keep: How many to pick of each group.

    Raises:
        TooLargeError: there is no room for the vectors.
    """
    made = []
    for group, count in enumerate(keep):
        tokens = problem.tokens.only(group, problem.tokens.shape[1])
        similarities = _blocks(problem, tokens)
        scale, offset = (column[group : group + 1] for column in form)
        with blamed(problem.coverage, "picks_in_blocks", tokens):
            made.append(problem.coverage.picks_in_blocks(similarities, tokens, scale, offset, count))
        del similarities  # before the next group's are made
    return side_by_side(made)


def _blocks(problem: Problem, tokens: VisualTokens) -> Blocks:
    metric, coverage = problem.metric, problem.coverage
    with blamed(metric, "vectors", tokens):
        vectors = metric.vectors(tokens)
    if vectors is None:
        raise SpecError(f"similarity {metric} gave no vectors for {tokens.name_of(0)}, so it cannot be read in blocks")
    width = vectors.shape[-1] if isinstance(vectors, Tensor) and vectors.dim() else 0
    expect(vectors, (*tokens.shape[:2], width), f"similarity {metric}: vectors()", tokens)
    need = blocks_bytes(tokens.shape[1], width, tokens.device, vectors.element_size())
    if reason := shortage(need, problem.memory, tokens.device):
        advice = "free some memory" if problem.memory is None else "raise `memory` (GiB)"
        raise TooLargeError(
            f"{tokens.name_of(0)}: even without the matrix of {metric}, {tokens.shape[1]} vectors of {width} numbers "
            f"and blocks of their products take {said(need)}, and {reason}; cut the tokens into smaller groups "
            f"(`partition: {{name: chunks, count: N}}`), or {advice}"
        )
    try:
        made = Blocks.of(vectors[0], tokens.valid[0])
    except PluginOutputError as error:
        raise PluginOutputError(f"similarity {metric}: vectors() of {tokens.name_of(0)}: {error}") from None
    if coverage.nonnegative_similarity:
        problem.check_nonnegative(min((block.amin() for _, _, block in made.triangle()), key=float))
    return made


def side_by_side(made: Sequence[Picks]) -> Picks:
    """The picks of several groups as one table."""
    most = max((one.picks.shape[1] for one in made), default=0)

    def stacked(columns: list[Tensor], fill: float) -> Tensor:
        return torch.cat([torch.nn.functional.pad(one, (0, most - one.shape[1]), value=fill) for one in columns])

    return Picks(
        stacked([one.picks for one in made], -1),
        stacked([one.gains for one in made], torch.nan),
        stacked([one.scores for one in made], torch.nan),
    )

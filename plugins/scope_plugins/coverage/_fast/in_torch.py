"""Kernel of facility location without a compiler: the loop's picks in fewer calls of torch.

Gains only fall, so the score that a token had some picks ago bounds the score that it has now. A few tokens, those of
the highest bounds, are scored again after each pick. While the best of them is above all other bounds, it is the next
pick; else others have the highest bounds. Scores are those of the loop to the last bit: sums are exact on the grid of
`arithmetic.rounding_constant`, and rounding a product or a sum changes no order.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from heapq import heappop, heappush
from math import inf, nan
from typing import Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Kernel, Picks
from scope_plugins.coverage._fast import arithmetic

FEW = 24
"""Tokens that are scored together. With more, a pick takes longer; with fewer, they are exchanged more often."""
MANY = 64
"""Tokens that are scored together once, where a pick has lowered the gains of all."""
NEAR = 1024
"""Tokens up to which reading columns is worth it. Of a larger matrix, each number is in another page of memory."""
GROUPS = 3
"""Groups up to which this is faster than the loop, which makes a pick of all groups in one step."""

Pick = tuple[int, float, float]
"""Index, gain and score."""


class FacilityLocationInTorch(Kernel):
    """Greedy selection on the CPU, one group after the other.

    Attributes:
        by_rows: True to read a token's row, times the weights, in place of its column, whose numbers are far apart.
    """

    by_rows = False

    @cached_property
    def mirrored(self) -> FacilityLocationInTorch:  # type: ignore[override]  # read only
        """This kernel, by rows."""
        twin = copy(self)
        twin.by_rows = True
        return twin

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """The reason: another device, for which every pick would wait; empty on the CPU."""
        return "" if arithmetic.on_host(device) else f"it is for the CPU only, but the tokens are on {device}"

    def picks(
        self,
        coverage: Any,
        similarity: Tensor,
        tokens: VisualTokens,
        scale: Tensor,
        offset: Tensor,
        keep: Sequence[int],
    ) -> Picks | None:
        """All picks; None for many groups, half precision, and where scores are infinite or rise while gains fall.

        None as well for numbers without a grid, whose sums depend on their order.
        """
        far = not self.by_rows and similarity.shape[1] > NEAR
        if far or len(keep) > GROUPS or similarity.element_size() < 4 or bool((scale < 0).any()):
            return None
        similarity, weights = similarity.detach(), None
        if coverage.spec.weights is not None:  # those of a matrix of one column of ones
            weights = coverage.weighted(similarity.new_ones((*scale.shape, 1)), tokens).detach()
        whole = similarity if weights is None else similarity * weights
        rounder = arithmetic.grid_constant(whole)
        if rounder is None:
            return None
        required = tokens.valid & tokens.required
        most, made = max(keep, default=0), list[list[Pick]]()
        for group, count in enumerate(keep):
            one = _Group(whole[group], rounder, scale[group], offset[group])
            if self.by_rows:
                one.rows, one.weights = similarity[group], None if weights is None else weights[group, :, 0]
            scores = one.first()
            if not bool(torch.isfinite(scores).all()):
                return None
            for level in (required[group], tokens.valid[group] & ~required[group]):
                one.take(scores, level, count)
            made.append(one.made + [(-1, nan, nan)] * (most - len(one.made)))
        return Picks(
            *(
                torch.tensor([[pick[column] for pick in row] for row in made], dtype=dtype).reshape(len(keep), most)
                for column, dtype in enumerate((torch.int64, torch.float64, torch.float64))
            )
        )


class _Group:
    """One group's picks so far.

    Attributes:
        made: The picks.
        rows: (N, N) similarity without weights, whose rows are columns; None to read columns.
        weights: (N,) weights of the rows of ``similarity``, for ``rows``; None if all are 1.
    """

    rows: Tensor | None = None
    weights: Tensor | None = None

    def __init__(self, similarity: Tensor, rounder: float, scale: Tensor, offset: Tensor) -> None:
        """Nothing is picked yet.

        Args:
            similarity: (N, N), weighted.
            rounder: `arithmetic.rounding_constant`.
            scale: (N,) float64, at least 0.
            offset: (N,) float64.
        """
        count = len(similarity)
        self.similarity, self.rounder = similarity, rounder
        self.scale, self.offset = scale.tolist(), offset.tolist()
        self.made: list[Pick] = []
        self.best = torch.zeros(count, dtype=torch.float64)  # running maximum c_i
        self.total = 0.0  # sum of c_i
        # Memory is taken once: columns of a few tokens, and twice what c would be after a pick of each. The row of the
        # last pick is c, so the next ones are written to the other.
        self.room = torch.empty(3, min(MANY, count), count, dtype=torch.float64)
        self.covered = [each.unbind() for each in self.room[1:]]
        self.turn = 0
        self.rooms: dict[int, tuple[Tensor, Tensor, list[Tensor]]] = {}

    def first(self) -> Tensor:
        """(N,) scores of the empty set."""
        gain, room = torch.zeros_like(self.best), self.room.flatten(0, 1)
        for rows in torch.split(self.similarity, max(1, len(room))):
            gain += self._on_grid(rows, room[: len(rows)]).clamp_(min=0).sum(0)
        scale, offset = (torch.tensor(column, dtype=torch.float64) for column in (self.scale, self.offset))
        return gain.mul_(scale).add_(offset)

    def take(self, bounds: Tensor, candidates: Tensor, count: int) -> None:
        """Pick until there are ``count`` picks, or no candidates.

        Args:
            bounds: (N,) finite scores of now or of some picks ago.
            candidates: (N,) bool.
            count: Number of picks, with those made before.
        """
        left, size = int(candidates.sum()), FEW
        highest, order = bounds.masked_fill(~candidates, -inf).sort(descending=True, stable=True)
        heap = list(zip(highest[:left].neg().tolist(), order[:left].tolist(), strict=True))  # sorted lists are heaps
        while heap and len(self.made) < count:
            before = len(self.made)
            few = sorted([heappop(heap)[1] for _ in range(min(size, len(heap)))])
            for rest in self._among(few, heap[0] if heap else (inf, 0), count):
                heappush(heap, rest)
            size = FEW if len(self.made) > before else MANY

    def _among(self, few: list[int], others: tuple[float, int], count: int) -> list[tuple[float, int]]:
        """Pick the best of a few tokens until another may be better. Returns the rest: minus the score, and the index.

        Args:
            few: M indices, ascending, so that the first of equal scores has the lowest.
            others: Minus the highest bound of the other tokens, and the lowest index that has it.
            count: As for `take`.
        """
        columns, rooms = self._columns(few)
        scale, offset = [self.scale[j] for j in few], [self.offset[j] for j in few]
        made, best, total = self.made, self.best, self.total
        end = min(count, len(made) + (len(few) if len(few) <= FEW else 1))
        while True:
            # sums of max(S_ij, c_i) are exact, and so is what the sum of c_i leaves of them: the gain
            sums = torch.maximum(columns, best, out=rooms[self.turn]).sum(1).tolist()
            scores = [(each - total) * a + b for each, a, b in zip(sums, scale, offset)]  # noqa: B905  # each pick
            top = max(scores)
            at = scores.index(top)
            if (-top, few[at]) > others:
                break
            made.append((few[at], sums[at] - total, top))
            best, total, offset[at] = self.covered[self.turn][at], sums[at], -inf
            self.turn = 1 - self.turn
            if len(made) == end:
                scores[at] = -inf
                break
        self.best, self.total = best, total
        return [(-score, j) for score, j in zip(scores, few, strict=True) if score > -inf]

    def _on_grid(self, numbers: Tensor, room: Tensor) -> Tensor:
        """The numbers rounded to the grid, in float64, written to ``room``."""
        return room.copy_(numbers).add_(self.rounder).sub_(self.rounder)

    def _columns(self, few: list[int]) -> tuple[Tensor, list[Tensor]]:
        """(M, N) columns of M tokens on the grid, and memory for two times what c would be after a pick of each."""
        size, count = len(few), len(self.similarity)
        if size not in self.rooms:  # slices take longer than one might think
            raw = self.similarity.new_empty((count, size) if self.rows is None else (size, count))
            columns, *rooms = (each[:size] for each in self.room)
            self.rooms[size] = raw, columns, rooms
        raw, columns, rooms = self.rooms[size]
        index = torch.frombuffer(array("q", few), dtype=torch.int64)  # `torch.tensor` takes three times as long
        if self.rows is None:
            raw = torch.index_select(self.similarity, 1, index, out=raw).mT
        else:
            torch.index_select(self.rows, 0, index, out=raw)
            raw = raw if self.weights is None else raw.mul_(self.weights)
        return self._on_grid(raw, columns), rooms

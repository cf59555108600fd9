"""Rounds of matching every second token to the others; the most similar matches lose a token, dropped or merged."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector, Slot, scores, similarities
from scope_plugins.selector._folding import Line, Means, Pairs, Sums, Totals

_TOGETHER = 512
"""Rows of similarities that are computed at once, however many tokens are left."""


class BipartiteSpec(ComponentSpec):
    """Rounds of matching even to odd places in a line of tokens, until K tokens are left."""

    name: Literal["bipartite"] = "bipartite"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens. To merge by the cosine of mean vectors, use a dot product."""
    order_by: Annotated[ComponentSpec | None, Slot("saliency", optional=True)] = None
    """Saliency by which tokens are lined up, highest first; null for the order in the image."""
    per_round: Annotated[int | None, Field(ge=1)] = None
    """Largest number of tokens removed in a round; null for as many as possible, which is half."""
    fold: bool = False
    """Merge a removed token into its match, whose similarities are then those of both together."""
    after_round: Literal["in_place", "evens_first"] = "in_place"
    """The line for the next round: the same order; or first the even tokens that stayed, most similar first, then the
    odd ones, as in published code."""


class Bipartite(Selector[BipartiteSpec]):
    """Tokens that duplicate others are removed, the closest duplicates first.

    Use it where what is left should have no near copies; with ``fold``, removed tokens are merged into their match.

    In each round, every token at an even place is matched to the most similar one at an odd place, and the r most
    similar pairs lose their even token: ``r = min(tokens left - K, per_round, half of those left)``, ties to the
    earlier place. Required tokens are put at odd places. Merging adds up the rows and columns of the similarity of
    both, and compares by ``S_ij / sqrt(S_ii S_jj)``: for a dot product, the cosine of the means of the merged tokens,
    each token counting the same; in half precision these means are computed and scaled to length 1 first, as in ToMe's
    release. Picks are in the order of the last line; a pick's gain is the number of tokens merged
    into it, itself included, and its score ``1 - highest similarity to another pick``. `Selection.assigned` is set if
    tokens are merged.
    Sources: ToMe, arXiv 2210.09461, section 3 (merging); VisPruner, arXiv 2412.01818, section 4 (dropping).
    """

    equivariant = False

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """Memory for the similarities of the largest group, added up in float64 if tokens are merged, and a copy.

        Where vectors are added up instead, it is that of similarities between one half of the group and the other.
        """
        numbers, metric = max(sizes, default=0) ** 2, self.parts["similarity"]
        if self.spec.fold and metric.vectors is not None and itemsize < 8:
            return Execution(memory=numbers * (8 + itemsize) // 4)
        folding = 8 + 8 + itemsize if self.spec.fold else 2 * itemsize
        return Execution(memory=int(numbers * max(metric.matrices * itemsize, folding)))

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The tokens left in each group."""
        ranks = None if self.spec.order_by is None else scores(self.parts["order_by"], tokens)
        homes = torch.full_like(tokens.row, -1)
        columns: list[tuple[Tensor, Tensor, Tensor]] = []
        for group, count in enumerate(keep):
            index = tokens.valid[group].nonzero().flatten()
            if ranks is not None:
                index = index[ranks[group, index].sort(descending=True, stable=True).indices]
            required = tokens.required[group, index]
            line = self._line(tokens, group, index)
            left, home = self._rounds(line, required, count)
            if count:
                homes[group, index] = index[home]
            nearest = _nearest(line, left)
            sizes = torch.bincount(home, minlength=len(index))[left].to(nearest.dtype)
            columns.append((index[left], sizes if self.spec.fold else sizes.new_ones(count), 1 - nearest))
            del line  # frees memory for the next group's
        picks, gains, distinct = (
            torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True, padding_value=fill)
            for column, fill in zip(zip(*columns, strict=True), (-1, torch.nan, torch.nan), strict=True)
        )
        return Selection(picks, gains, distinct, tokens, assigned=homes if self.spec.fold else None)

    def _line(self, tokens: VisualTokens, group: int, index: Tensor) -> Line:
        """One group's tokens, in the order of the line."""
        ranks_nothing = self.spec.order_by is None
        metric, one = self.parts["similarity"], tokens.only(group, tokens.shape[1])
        if self.spec.fold and metric.vectors is not None:
            vectors = metric.vectors(one)[0]
            vectors = vectors if ranks_nothing and len(index) == len(vectors) else vectors.index_select(0, index)
            if vectors.element_size() < 4:
                return Means(vectors)
            if vectors.dtype == torch.float32 and _finite(vectors):  # the matrix says what is not
                return Totals(vectors)
        matrix: Tensor = similarities(metric, one)[0]
        return (Sums if self.spec.fold else Pairs)(matrix[index[:, None], index])

    def _rounds(self, tokens: Line, required: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """(K,) places left, and (n,) the place each was merged into."""
        home = line = torch.arange(len(required), device=required.device)
        if count == 0:
            return line[:0], home
        free = not bool(required.any())
        while len(line) > count:
            even = line[::2] if free else line[~required[line]][::2]
            odd = line[1::2] if free else _less(line, even, len(required))
            gone = min(len(line) - count, self.spec.per_round or len(line), len(line) // 2, len(even))
            most, match = tokens.alike(even, odd).max(1)
            order = most.sort(descending=True, stable=True).indices
            lost, stays = even[order[:gone]], even[order[gone:]]
            if self.spec.fold:
                into = match[order[:gone]]
                tokens.fold(lost, into, odd)
                move = torch.arange(len(home), device=home.device)
                move[lost] = odd[into]
                home = move[home]
            in_place = self.spec.after_round == "in_place"
            line = _less(line, lost, len(required)) if in_place else torch.cat([stays, odd])
        return line, home


def _finite(vectors: Tensor) -> bool:
    return not vectors.numel() or all(isfinite(float(end)) for end in vectors.aminmax())


def _nearest(tokens: Line, left: Tensor) -> Tensor:
    """(K,) the highest similarity of each place that is left to another; of many, a quarter of the rows at a time."""
    if len(left) < 2:
        return torch.zeros(len(left), dtype=tokens.dtype, device=left.device)
    found, few = [], len(left) <= _TOGETHER
    for rows in torch.split(left, max(_TOGETHER, -(-len(left) // 4))):
        alike = tokens.alike(rows, left)
        alike = alike.fill_diagonal_(-torch.inf) if few else alike.masked_fill_(rows[:, None] == left, -torch.inf)
        found.append(alike.amax(1).to(tokens.dtype))
    return torch.cat(found)


def _less(line: Tensor, gone: Tensor, count: int) -> Tensor:
    """The tokens of a line, numbers below ``count``, without those that are gone."""
    stays = torch.ones(count, dtype=torch.bool, device=line.device)
    stays[gone] = False
    return line[stays[line]]

"""Salient tokens, each of which suppresses the tokens that are too similar to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector, Slot, measured, scores, similarities
from scope_plugins.selector._rows import ranked, selection_of
from scope_plugins.selector._shares import cumulative_shares, shares
from scope_plugins.selector._suppression import survivors, within_reach


class SuppressSpec(ComponentSpec):
    """Tokens by saliency; a token that is too similar to one kept before it is suppressed."""

    name: Literal["suppress"] = "suppress"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency by which tokens are visited, highest first."""
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""
    threshold: float = 0.9
    """A kept token suppresses those whose similarity to it is above the threshold."""
    measure: Literal["similarity", "distance"] = "similarity"
    """The threshold is one of similarities; or, with ``distance``, of ``1 - similarity``, below which tokens are
    suppressed."""
    times: Literal["one", "count", "order"] = "one"
    """A factor of the threshold: the tokens to keep (``count``), or the number of the pick, from 1 (``order``)."""
    statistic: Annotated[ComponentSpec | None, Slot("statistic", optional=True)] = None
    """A statistic of the group that the threshold is multiplied by; null for none."""
    limit: float | None = None
    """Largest threshold, whatever the factors; null for none."""
    radius: Annotated[int, Field(ge=0)] | None = None
    """Rows and columns of the grid within which a token suppresses others of its tile; null: everywhere."""
    partition: Annotated[ComponentSpec | None, Slot("partition", optional=True)] = None
    """A partition: tokens suppress only those of their piece, and pieces share the count by their survivors."""
    cap: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of a piece for every 64 tokens to keep that are begun; raised for all pieces if that is too few."""
    rounding: Literal["floor", "cumulative"] = "floor"
    """Rounding of the pieces' shares beyond one token each: as in the selector `quota`, or of their running sums."""
    then: Literal["rank", "stop"] = "rank"
    """If fewer tokens survive than are asked for: the suppressed ones by saliency, or no more (``stop``)."""
    plus: Annotated[int, Field(ge=0)] = 0
    """Rows that a merger adds, which count as tokens to keep in ``times`` and ``cap``."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.partition is None and (self.cap is not None or self.rounding != "floor"):
            raise ValueError("cap and rounding are options of pieces; give a partition, or leave them out")
        return self


class Suppress(Selector[SuppressSpec]):
    """The most salient token of every neighbourhood, and nothing like it (non-maximum suppression).

    Use it where salient tokens come in bunches of near copies. With ``radius``, only copies that lie close by count.

    Tokens are visited by saliency; j is kept, and suppresses all i with ``S_ij > t``. The kept ones are a maximal
    independent set of the graph of similar tokens. ``t = min(limit, threshold x factors)``. With a partition, every
    piece keeps a token as long as there are enough, and pieces share the rest in proportion to their survivors.
    Required tokens come first and are not suppressed. A pick's gain is 1 if it survived and 0 if it was suppressed, its
    score its saliency; survivors are step 0 of `Selection.stage`. All tokens equal: one survives, or one of each piece.
    Source: PruneSID, arXiv 2603.09480 (pieces); AgilePruner, arXiv 2603.01236 (a threshold that rises with the order);
    D2Pruner, arXiv 2512.19443 (spatial edges).
    """

    equivariant = False

    @property
    def adaptive(self) -> bool:  # follows from the options
        """True with ``then: stop``."""
        return self.spec.then == "stop"

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """Memory for the similarities of the largest group, and a copy in the order of visits."""
        return Execution(memory=int(max(sizes, default=0) ** 2 * max(self.parts["similarity"].matrices, 2) * itemsize))

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Survivors of each group, then others."""
        score = scores(self.parts["saliency"], tokens)
        spec = self.spec
        scale = [1.0] * len(keep) if spec.statistic is None else measured(self.parts["statistic"], tokens)
        labels = None if spec.partition is None else self.parts["partition"].label(tokens, keep)
        picks, steps = [], []
        for group, count in enumerate(keep):
            order = ranked(score[group], tokens, group)
            must = tokens.required[group, order]
            piece = None if labels is None else labels[group, order]
            stop = count if piece is None else len(order)
            near = self._nearness(tokens, group, order, piece) if count else order.new_zeros(0, 0)
            found = survivors(near, self._threshold(scale[group], count + spec.plus), must, stop)
            alive = torch.zeros_like(must).index_fill(0, found, True)
            rank = torch.cat([found, (~alive).nonzero().flatten()]) if spec.then == "rank" else found
            if piece is not None and count:
                rank = self._shared(rank, alive, must, piece, count)
            rank = rank[:count]
            picks.append(order[rank])
            steps.append((~alive[rank]).to(torch.int64))
        gains, values = [1 - step for step in steps], [score[group, row] for group, row in enumerate(picks)]
        return selection_of(picks, gains, values, tokens, stage=steps)

    def _threshold(self, scale: float, count: int) -> Callable[[int], float]:
        """The similarity above which the k-th pick suppresses."""
        spec = self.spec

        def above(order: int) -> float:
            value = spec.threshold * scale * {"one": 1, "count": count, "order": order}[spec.times]
            value = value if spec.limit is None else min(value, spec.limit)
            return value if spec.measure == "similarity" else 1 - value

        return above

    def _nearness(self, tokens: VisualTokens, group: int, order: Tensor, piece: Tensor | None) -> Tensor:
        """(n, n) similarities in the order of visits; -inf where one token cannot suppress the other."""
        matrix = similarities(self.parts["similarity"], tokens.only(group, tokens.shape[1]))[0]
        near = matrix[order[:, None], order].double()
        if self.spec.radius is not None:
            near.masked_fill_(~within_reach(tokens, group, order, self.spec.radius), -torch.inf)
        if piece is not None:
            near.masked_fill_(piece[:, None] != piece, -torch.inf)
        return near

    def _shared(self, rank: Tensor, alive: Tensor, must: Tensor, piece: Tensor, count: int) -> Tensor:
        """(k,) the ranked places that the pieces' shares of the count leave, piece by piece."""
        pieces = int(piece.max()) + 1
        sizes = torch.bincount(piece[rank], minlength=pieces).tolist()
        kept = torch.bincount(piece[alive], minlength=pieces).tolist()
        least = torch.bincount(piece[must], minlength=pieces).tolist()
        if pieces <= count:
            least = [max(low, 1) for low in least]
        whole = count + self.spec.plus
        most = list(kept)
        if self.spec.cap is not None:
            cap = self.spec.cap * -(-whole // 64)
            most = [min(size, cap) for size in kept]
        most = [max(high, low) for high, low in zip(most, least, strict=True)]
        while sum(most) < min(whole, sum(sizes)):
            most = [min(high + 1, size) for high, size in zip(most, sizes, strict=True)]
        divide = shares if self.spec.rounding == "floor" else cumulative_shares
        counts = divide(count, kept, least, most)
        return torch.cat([rank[piece[rank] == number][:mine] for number, mine in enumerate(counts)])

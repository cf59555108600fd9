"""The most salient tokens, up to the point where several of them differ from the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector, Slot, scores, similarities
from scope_plugins._fractions import fraction
from scope_plugins.selector._rows import ranked, selection_of


class AnchorsSpec(ComponentSpec):
    """Tokens by saliency, until several of them differ from the first ones."""

    name: Literal["anchors"] = "anchors"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency by which tokens are taken, highest first."""
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""
    least: Annotated[float, Field(ge=0, le=1)] = 0.3125
    """Share of the tokens asked for that is kept in any case, the first ones: rounded down, at least 1 token."""
    novelty: float = 0.2
    """A token differs from the first ones if ``1 - similarity`` to each of them is above this."""
    patience: Annotated[int, Field(ge=1)] = 3
    """Number of tokens that differ after which no more are kept; the last of them is kept."""


class Anchors(Selector[AnchorsSpec]):
    """As many salient tokens as belong to one thing, and no more; the count follows from the image.

    Use it as the first step of a chain, which gives the tokens that it leaves to the next step.

    Of K tokens asked for, the first ``max(1, floor(least K))`` by saliency are kept, then further ones in order of
    saliency until ``patience`` of them had ``min_j (1 - S_ij) > novelty`` to the first ones j, at most K. Required
    tokens come first and count among the first ones. A pick's gain is its smallest distance to the first ones, 0 for
    these; its score is its saliency. If all tokens are equal, none differs and all K are kept. Source: AnchorPrune,
    arXiv 2607.07033, whose bound is half of the budget, and ``least`` 10 of 64 tokens.
    """

    adaptive = True

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """Memory for the similarities of the largest group."""
        return Execution(memory=int(max(sizes, default=0) ** 2 * self.parts["similarity"].matrices * itemsize))

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The first tokens of each group by saliency."""
        score = scores(self.parts["saliency"], tokens)
        picks, gains = [], []
        for group, count in enumerate(keep):
            order = ranked(score[group], tokens, group)[:count]
            matrix = similarities(self.parts["similarity"], tokens.only(group, tokens.shape[1]))[0]
            required = int(tokens.required[group, order].sum())
            first = min(max(1, int(fraction(self.spec.least) * count), required), count)
            distance = 1 - matrix[order][:, order[:first]].amax(1) if count else matrix.new_zeros(0)
            distance[:first] = 0
            novel = (distance > self.spec.novelty).cumsum(0) >= self.spec.patience
            taken = int((~novel).sum()) + 1 if bool(novel.any()) else count
            picks.append(order[:taken])
            gains.append(distance[:taken])
        return selection_of(picks, gains, [score[group, row] for group, row in enumerate(picks)], tokens)

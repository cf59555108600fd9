"""The usual selector: four parts and an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from scope_core import ComponentSpec, Selector, Slot

if TYPE_CHECKING:
    from scope_core import Part, Selection, VisualTokens


_READERS = ("similarity", "coverage", "combiner", "optimizer")


class CompositeSpec(ComponentSpec):
    """Saliency, similarity, coverage and combiner, with an optimizer; each left out is the default of its kind."""

    name: Literal["composite"] = "composite"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """How much each token matters on its own."""
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """How alike two tokens are."""
    coverage: Annotated[ComponentSpec, Slot("coverage")]
    """What a token adds to those picked."""
    combiner: Annotated[ComponentSpec, Slot("combiner")]
    """How gain and saliency make one score."""
    optimizer: Annotated[ComponentSpec, Slot("optimizer")]
    """How picks are made from scores."""
    memory: Annotated[float, Field(gt=0, strict=True)] | None = None
    """GiB that the similarities, and what is made of them, may take; null: nine tenths of what is free. What needs more
    is done in blocks, without their matrix, or refused before anything is allocated."""


class Composite(Selector[CompositeSpec]):
    """SCOPE, top-k, DivPrune and their mixtures: only the parts differ."""

    def walk(self) -> Iterator[Part[Any]]:
        """The parts that will be asked: a saliency or similarity that nothing reads needs no signals."""
        combiner, coverage = self.parts["combiner"], self.parts["coverage"]
        idle = set() if combiner.uses_saliency else {"saliency"}
        if not combiner.uses_coverage:
            idle |= {"similarity", "coverage"}
        elif not coverage.uses_similarity:
            idle |= {"similarity"}
        yield self
        for name, part in self.parts.items():
            if name not in idle:
                yield from part.walk()

    def memory(self, sizes: Sequence[int], itemsize: int) -> int:
        """Bytes of the largest group's matrices: large groups are selected one at a time.

        0 where it is sure that blocks are read instead: for they were asked for, or `memory` allows less.
        """
        from scope_core import matrix_bytes

        coverage, combiner, count = self.parts["coverage"], self.parts["combiner"], max(sizes, default=0)
        if not (coverage.uses_similarity and combiner.uses_coverage):
            return 0
        need = matrix_bytes(self.parts["similarity"], coverage, count, itemsize, combiner)
        short = self.limit is not None and need > self.limit
        always = self.parts["optimizer"].in_blocks == "always"
        return 0 if self.in_blocks and (short or always) else need

    def check(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> None:
        """By the largest group: large groups are selected one at a time."""
        from scope_core import check_matrix

        similarity, coverage, combiner, optimizer = (self.parts[name] for name in _READERS)
        count = max(sizes, default=0)
        check_matrix(similarity, coverage, combiner, optimizer, count, itemsize, allowed=self.limit, free=free)

    @property
    def limit(self) -> int | None:
        """The option `memory` in bytes."""
        return None if self.spec.memory is None else int(self.spec.memory * 2**30)

    @property
    def in_blocks(self) -> bool:
        """If the parts can do without the matrix, and the optimizer asks."""
        from scope_core import Blocks

        parts = self.parts
        if not (parts["coverage"].uses_similarity and parts["combiner"].uses_coverage):
            return False
        why_not = Blocks.why_not(parts["similarity"], parts["coverage"], parts["combiner"])
        return parts["optimizer"].in_blocks != "never" and not why_not

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """What the optimizer picks from the four parts."""
        from scope_core import Problem, Selection, by_group

        parts = self.parts
        problem = Problem(
            tokens, parts["saliency"], parts["similarity"], parts["coverage"], parts["combiner"], memory=self.limit
        )
        made = by_group(problem, parts["optimizer"], keep)
        return Selection(picks=made.picks, gains=made.gains, scores=made.scores, tokens=tokens)

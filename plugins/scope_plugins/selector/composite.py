"""The usual selector: four parts and an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from scope_core import ComponentSpec, Selector, Slot

if TYPE_CHECKING:
    from scope_core import Part, Selection, VisualTokens


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
    memory: Annotated[float, Field(gt=0)] | None = None
    """GiB that the similarities, and what is made of them, may take; null: nine tenths of what is free. What needs more
    is refused before anything is allocated."""


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
        """Bytes of the largest group's matrices: large groups are selected one at a time."""
        from scope_core import matrix_bytes

        coverage, count = self.parts["coverage"], max(sizes, default=0)
        if not (coverage.uses_similarity and self.parts["combiner"].uses_coverage):
            return 0
        return matrix_bytes(self.parts["similarity"], coverage, count, itemsize)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """What the optimizer picks from the four parts."""
        from scope_core import Problem, Selection, by_group

        parts = self.parts
        allowed = None if self.spec.memory is None else int(self.spec.memory * 2**30)
        problem = Problem(
            tokens, parts["saliency"], parts["similarity"], parts["coverage"], parts["combiner"], memory=allowed
        )
        made = by_group(problem, parts["optimizer"], keep)
        return Selection(picks=made.picks, gains=made.gains, scores=made.scores, tokens=tokens)

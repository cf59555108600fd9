"""The usual selector: four parts and an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from scope_core import Selection, VisualTokens, by_group
from scope_core.parts import ComponentSpec, Execution, Part, Problem, Scoring, Selector, Slot, plan_execution


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

    @property
    def limit(self) -> int | None:
        """The option `memory` in bytes."""
        return None if self.spec.memory is None else int(self.spec.memory * 2**30)

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """That of the largest group: large groups are selected one at a time."""
        largest = [max(sizes, default=0)]
        return plan_execution(self._scoring, largest, itemsize, self.parts["optimizer"].ways, self.limit, free)

    @property
    def _scoring(self) -> Scoring:
        return Scoring(*(self.parts[name] for name in Scoring._fields))

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """What the optimizer picks from the four parts."""
        problem = Problem(tokens, self.parts["saliency"], *self._scoring, memory=self.limit)
        made = by_group(problem, self.parts["optimizer"], keep)
        return Selection(picks=made.picks, gains=made.gains, scores=made.scores, tokens=tokens)

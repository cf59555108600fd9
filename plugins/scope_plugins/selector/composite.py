"""The default selector: four parts and an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from scope_core import Selection, VisualTokens, by_group
from scope_core.parts import ComponentSpec, Execution, Part, Problem, Scoring, Selector, Slot, plan_execution


class CompositeSpec(ComponentSpec):
    """Saliency, similarity, coverage and combiner, with an optimizer; those omitted are the default of their kind."""

    name: Literal["composite"] = "composite"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The importance of each token on its own."""
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""
    coverage: Annotated[ComponentSpec, Slot("coverage")]
    """The gain that a token adds to those picked."""
    combiner: Annotated[ComponentSpec, Slot("combiner")]
    """The score made of gain and saliency."""
    optimizer: Annotated[ComponentSpec, Slot("optimizer")]
    """The order in which tokens are picked by score."""
    memory: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """GiB that similarities, and matrices computed from them, may take; null: nine tenths of the free memory. A
    selection that needs more is made in blocks, without the whole matrix, or refused before anything is allocated."""


class Composite(Selector[CompositeSpec]):
    """Greedy or top-k selection by a score of saliency and coverage.

    Use it for SCOPE, top-k, DivPrune and their combinations, which differ in the parts only.
    """

    copies = 0

    def walk(self) -> Iterator[Part[Any]]:
        """The parts in use: a saliency or similarity that no part reads is skipped, so its signals are not needed."""
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
    def held(self) -> float:
        """That of the parts in use, which work one after another."""
        used = {id(part) for part in self.walk()}
        return self.copies + max((part.held for part in self.inner if id(part) in used), default=0.0)

    @property
    def limit(self) -> int | None:
        """The option ``memory`` in bytes."""
        return None if self.spec.memory is None else int(self.spec.memory * 2**30)

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """The execution of the largest group; large groups are selected one at a time."""
        largest = [max(sizes, default=0)]
        return plan_execution(self._scoring, largest, itemsize, self.parts["optimizer"].ways, self.limit, free)

    @property
    def _scoring(self) -> Scoring:
        return Scoring(*(self.parts[name] for name in Scoring._fields))

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The optimizer's picks from the four parts."""
        problem = Problem(tokens, self.parts["saliency"], *self._scoring, memory=self.limit)
        chosen = by_group(problem, self.parts["optimizer"], keep)
        return Selection(picks=chosen.picks, gains=chosen.gains, scores=chosen.scores, tokens=tokens)

"""Several coverage functions as one: their weighted sum."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction, Slot
from scope_plugins.coverage._fast.stacked import StackedKernel


class StackedSpec(ComponentSpec):
    """A weighted sum of coverage functions."""

    name: Literal["stacked"] = "stacked"
    of: Annotated[tuple[ComponentSpec, ...], Slot("coverage", many=True), Field(min_length=1)]
    """The coverage functions; those that read a similarity share one."""
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """One weight per function; by default all are 1."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.of):
            raise ValueError(f"give one weight per function: {len(self.of)} functions, weights {list(self.weights)}")
        return self


class Stacked(CoverageFunction[StackedSpec]):
    """Several coverage goals at once, each with its weight.

    Use it to cover, say, both the image (`facility_location`) and the prompt (`text_facility_location`), as in MMTok.

    ``f(A) = sum_s w_s f_s(A)``; monotone and submodular if all its functions are. Source: MMTok, arXiv 2508.18264.
    """

    kernel = StackedKernel()

    @property
    def uses_similarity(self) -> bool:  # type: ignore[override]  # follows from the functions, as do those below
        """True if one of the functions uses it."""
        return any(part.uses_similarity for part in self.parts["of"])

    @property
    def monotone(self) -> bool:  # type: ignore[override]
        """True if all functions are."""
        return all(part.monotone for part in self.parts["of"])

    @property
    def submodular(self) -> bool:  # type: ignore[override]
        """True if all functions are."""
        return all(part.submodular for part in self.parts["of"])

    @property
    def nonnegative_similarity(self) -> bool:  # type: ignore[override]
        """True if one of the functions requires it."""
        return any(part.nonnegative_similarity for part in self.parts["of"])

    @property
    def matrices(self) -> float:  # type: ignore[override]
        """The sum over all functions."""
        return float(sum(part.matrices for part in self.parts["of"] if part.uses_similarity))

    def start(self, similarity: Tensor, tokens: VisualTokens) -> list[Any]:
        """One state per function."""
        return [part.start(similarity, tokens) for part in self.parts["of"]]

    def gain(self, state: list[Any]) -> Tensor:
        """(B, N) weighted sum of gains."""
        weights = self.spec.weights or (1.0,) * len(state)
        gains = [w * part.gain(s) for w, part, s in zip(weights, self.parts["of"], state, strict=True)]
        total: Tensor = gains[0]
        for gain in gains[1:]:
            total = total + gain
        return total

    def add(self, state: list[Any], pick: Tensor) -> list[Any]:
        """Add the pick to every function's set."""
        return [part.add(previous, pick) for part, previous in zip(self.parts["of"], state, strict=True)]

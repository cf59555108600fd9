"""Several coverage functions as one: their weighted sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from scope_core import ComponentSpec, Slot
from scope_plugins.coverage._fast.compiled_rows import rising, rounder
from scope_plugins.coverage._fast.incremental import Incremental, arrays
from scope_plugins.coverage.facility_location import FacilityLocation

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Self

    from scope_core import VisualTokens
    from scope_plugins.coverage._fast.incremental import Group


class StackedSpec(ComponentSpec):
    """A weighted sum of coverage functions."""

    name: Literal["stacked"] = "stacked"
    of: Annotated[tuple[ComponentSpec, ...], Slot("coverage", many=True), Field(min_length=1)]
    """The coverage functions; those that read a similarity share one."""
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """One weight per function. Left out: all 1."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.of):
            raise ValueError(f"give one weight per function: {len(self.of)} functions, weights {list(self.weights)}")
        return self


class Stacked(Incremental[StackedSpec]):
    """``f(A) = sum_s w_s f_s(A)``; monotone and submodular where all its functions are.

    Facility location of the tokens stacked on that of the text is one facility location with extra rows: MMTok, arXiv
    2508.18264.
    """

    @property
    def uses_similarity(self) -> bool:  # type: ignore[override]  # these four follow from the functions
        """Whether one of the functions does."""
        return any(part.uses_similarity for part in self.parts["of"])

    @property
    def monotone(self) -> bool:  # type: ignore[override]
        """Whether all functions are."""
        return all(part.monotone for part in self.parts["of"])

    @property
    def submodular(self) -> bool:  # type: ignore[override]
        """Whether all functions are."""
        return all(part.submodular for part in self.parts["of"])

    @property
    def nonnegative_similarity(self) -> bool:  # type: ignore[override]
        """Whether one of the functions asks for it."""
        return any(part.nonnegative_similarity for part in self.parts["of"])

    @property
    def matrices(self) -> float:  # type: ignore[override]
        """Those of all functions."""
        return float(sum(part.matrices for part in self.parts["of"] if part.uses_similarity))

    def why_no_picks(self, similarity: Tensor) -> str:
        """As ever; or one of the functions has no compiled update."""
        if reason := super().why_no_picks(similarity):
            return reason
        for part in self.parts["of"]:
            if not isinstance(part, Incremental) and type(part) is not FacilityLocation:
                return f"of its functions, {part} has no compiled update of its gains"
            if reason := part.why_no_picks(similarity):
                return str(reason)
        return ""

    def groups(self, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Compiled updates of all functions; gains are added up as `gain` does."""
        import numpy as np

        parts: list[Callable[[int, int], Group]] = []
        for part in self.parts["of"]:
            plain = type(part) is FacilityLocation
            made = _facility_location(similarity) if plain else part.groups(similarity, tokens)
            if made is None:
                return None
            parts.append(made)
        weights = self.spec.weights or (1.0,) * len(parts)

        def group(index: int, count: int) -> Group:
            gains, adds = zip(*(part(index, count) for part in parts), strict=True)
            total, scratch = np.empty_like(gains[0]), np.empty_like(gains[0])

            def add_up() -> None:
                np.multiply(gains[0], weights[0], out=total)
                for weight, gain in zip(weights[1:], gains[1:], strict=True):
                    np.add(total, np.multiply(gain, weight, out=scratch), out=total)

            def add(pick: int) -> None:
                for one in adds:
                    one(pick)
                add_up()

            add_up()
            return total, add

        return group

    def start(self, similarity: Tensor, tokens: VisualTokens) -> list[Any]:
        """One state per function."""
        return [part.start(similarity, tokens) for part in self.parts["of"]]

    def gain(self, state: list[Any]) -> Tensor:
        """(B, N) the weighted sum of gains."""
        weights = self.spec.weights or (1.0,) * len(state)
        gains = [w * part.gain(s) for w, part, s in zip(weights, self.parts["of"], state, strict=True)]
        total: Tensor = gains[0]
        for gain in gains[1:]:
            total = total + gain
        return total

    def add(self, state: list[Any], pick: Tensor) -> list[Any]:
        """The pick, added to every function's set."""
        return [part.add(one, pick) for part, one in zip(self.parts["of"], state, strict=True)]


def _facility_location(similarity: Tensor) -> Callable[[int, int], Group] | None:
    given = rounder(similarity)
    if given is None:
        return None
    matrices = arrays(similarity)
    return lambda index, count: rising(matrices[index], given)

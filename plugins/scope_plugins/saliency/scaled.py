"""Another saliency source on a stated scale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores
from scope_plugins.saliency._scaling import scaled


class ScaledSpec(ComponentSpec):
    """Another source, scaled."""

    name: Literal["scaled"] = "scaled"
    of: Annotated[ComponentSpec, Slot("saliency")]
    """The source."""
    scale: Literal["min_max", "rank", "max", "sum", "mean", "length"] = "min_max"
    """``min_max``: 0 to 1. ``rank``: 0 to 1 by rank alone. Otherwise scores are divided by this statistic;
    ``length`` is the root of the sum of their squares."""
    over: Literal["group", "tile", "call"] = "group"
    """Scope of minimum, maximum and so on: each group, each tile in it, or all groups of the call together. With
    ``call``, an image's picks depend on the other images of the call."""
    offset: Annotated[float, Field(ge=0)] = 0.0
    """Added to the numerator of ``min_max``, so that the lowest score is not 0."""

    @model_validator(mode="after")
    def _offset_fits(self) -> Self:
        if self.offset and self.scale != "min_max":
            raise ValueError(f"offset is an option of scale: min_max, not of {self.scale}")
        return self


class Scaled(SaliencySource[ScaledSpec]):
    """``(a_j - min a + offset) / (max a - min a)``, 1 for all tokens if all are equal; or another ``scale``."""

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # depends on the options
        """True if no score can be negative."""
        return self.spec.scale in ("min_max", "rank") or self.parts["of"].nonnegative

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N); in [0, 1] for ``min_max`` (and an offset of 0) and ``rank``."""
        score = scores(self.parts["of"], tokens)
        return scaled(score, tokens, self.spec.scale, over=self.spec.over, offset=self.spec.offset)

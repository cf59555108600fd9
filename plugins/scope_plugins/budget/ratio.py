"""A share of the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill, units
from scope_plugins._fractions import fraction


class RatioSpec(ComponentSpec):
    """Keep a share of the tokens (keep_ratio = kept / total)."""

    shorthand = (float, "keep_ratio")

    name: Literal["ratio"] = "ratio"
    keep_ratio: Annotated[float, Field(gt=0, le=1)]
    """Share of the tokens to keep, above 0 and at most 1; the count is the nearest whole number, halves up."""
    per: Literal["image", "tile", "frame", "video", "total"] = "image"
    """The unit whose count is rounded to a whole number: each image or video, each tile, each frame, each video with
    images that share a prompt as one, or the whole call."""


class Ratio(Budget[RatioSpec]):
    """``floor(keep_ratio * N + 1/2)`` tokens of every unit, in exact arithmetic."""

    additive = True

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; sums are exact."""
        share = fraction(self.spec.keep_ratio)
        counts = []
        for label, size in units(layout, groups, self.spec.per):
            count = int(share * size + Fraction(1, 2))
            if count == 0 and size > 0:
                raise BudgetError(
                    f"budget 'ratio' of {self.spec.keep_ratio} keeps none of the {size} tokens of {label}; raise it, "
                    f"or set `budget: 0` to remove images on purpose"
                )
            counts.append(count)
        return fill(layout, groups, self.spec.per, counts)

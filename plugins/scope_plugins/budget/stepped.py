"""A number of tokens, rounded down to a multiple of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in


class SteppedSpec(ComponentSpec):
    """A number of tokens, rounded down to a multiple of a step, plus a constant."""

    shorthand = (int, "keep")

    name: Literal["stepped"] = "stepped"
    keep: Annotated[int, Field(ge=0)]
    """Tokens of an image before rounding."""
    step: Annotated[int, Field(gt=0)]
    """The count is rounded down to a multiple of this."""
    plus: Annotated[int, Field(ge=0)] = 0
    """Tokens added after rounding."""


class Stepped(Budget[SteppedSpec]):
    """A number of tokens that divides evenly among the pivots of a method.

    Use it with the selector `pivots`, to keep as many tokens as DART's release.

    Keeps ``floor(keep / step) * step + plus`` tokens of every image. Source: DART's release, which keeps a whole number
    of tokens for each pivot, and the pivots of the image in addition.
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact."""
        count = self.spec.keep // self.spec.step * self.spec.step + self.spec.plus
        images = images_in(groups)
        for number in images:
            if count > layout.images[number].tokens:
                raise BudgetError(
                    f"budget 'stepped' keeps {count} tokens ({self.spec.keep} in steps of {self.spec.step}, plus "
                    f"{self.spec.plus}), but {layout.name_of(number)} has {layout.images[number].tokens}; lower `keep`"
                )
        return fill(layout, groups, "image", [count] * len(images))

"""A number of tokens in whole steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in


class SteppedSpec(ComponentSpec):
    """The largest multiple of a step that a number of tokens holds, and some more."""

    shorthand = (int, "keep")

    name: Literal["stepped"] = "stepped"
    keep: Annotated[int, Field(ge=0)]
    """The number."""
    step: Annotated[int, Field(gt=0)]
    """The step."""
    plus: Annotated[int, Field(ge=0)] = 0
    """How many are added to it."""


class Stepped(Budget[SteppedSpec]):
    """``floor(keep / step) * step + plus`` tokens of every image.

    Source: DART's release, which keeps a whole number of tokens for each pivot, and the pivots of the image besides.
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact."""
        count = self.spec.keep // self.spec.step * self.spec.step + self.spec.plus
        images = images_in(groups)
        for number in images:
            if count > layout.images[number].tokens:
                raise BudgetError(
                    f"budget 'stepped' keeps {count} tokens, {self.spec.keep} in steps of {self.spec.step} and "
                    f"{self.spec.plus}, but image {number} has {layout.images[number].tokens}; lower `keep`"
                )
        return fill(layout, groups, "image", [count] * len(images))

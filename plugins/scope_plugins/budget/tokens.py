"""A fixed number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import Budget, BudgetError, ComponentSpec, fill, units

if TYPE_CHECKING:
    from scope_core import Group, Layout


class TokensSpec(ComponentSpec):
    """Keep a number of tokens."""

    shorthand = (int, "keep")

    name: Literal["tokens"] = "tokens"
    keep: Annotated[int, Field(ge=0)]
    """Tokens to keep; 0 removes the image."""
    per: Literal["image", "tile", "total"] = "image"
    """What the number is for. An image's number is spread over its tiles exactly: 640 over 3 is 214+213+213.
    ``tile`` holds for each tile with ``partition: tile``; tiles that are selected together keep only the sum."""
    if_short: Literal["error", "keep_all"] = "error"
    """What to do where there are fewer tokens than that."""


class Tokens(Budget[TokensSpec]):
    """``keep`` tokens of every unit."""

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; sums are exact."""
        counts = []
        for label, size in units(layout, groups, self.spec.per):
            if self.spec.keep > size and self.spec.if_short == "error":
                raise BudgetError(
                    f"budget 'tokens' keeps {self.spec.keep} per {self.spec.per}, but {label} has {size} tokens; lower "
                    f"`keep`, or say `if_short: keep_all`"
                )
            counts.append(min(self.spec.keep, size))
        return fill(layout, groups, self.spec.per, counts)

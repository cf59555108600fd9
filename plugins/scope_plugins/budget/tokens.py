"""A fixed number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill, units


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
    tiles: Literal["exact", "floor"] = "exact"
    """Whether an image's number is spread over its tiles exactly, or each keeps ``floor(keep / tiles)``, as published
    code does: 640 over 3 is then 3 x 213."""


class Tokens(Budget[TokensSpec]):
    """``keep`` tokens of every unit."""

    additive = True

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; sums are exact, but for ``tiles: floor``."""
        if self.spec.tiles == "floor" and self.spec.per == "image":
            return self._floored(layout, groups)
        counts = []
        for label, size in units(layout, groups, self.spec.per):
            if self.spec.keep > size and self.spec.if_short == "error":
                raise BudgetError(
                    f"budget 'tokens' keeps {self.spec.keep} per {self.spec.per}, but {label} has {size} tokens; lower "
                    f"`keep`, or say `if_short: keep_all`"
                )
            counts.append(min(self.spec.keep, size))
        return fill(layout, groups, self.spec.per, counts)

    def _floored(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        counts = []
        tiles = {
            f"image {image}, tile {tile}": sum(size > 0 for size in entry.tiles)
            for image, entry in enumerate(layout.images)
            for tile, tokens in enumerate(entry.tiles)
            if tokens
        }
        for label, size in units(layout, groups, "tile"):
            count = self.spec.keep // tiles[label]
            if count == 0 < self.spec.keep:
                raise BudgetError(
                    f"budget 'tokens' keeps {self.spec.keep} tokens of {tiles[label]} tiles, which leaves none of "
                    f"{label} where each keeps as many; raise `keep`, or say `tiles: exact`"
                )
            if count > size and self.spec.if_short == "error":
                raise BudgetError(
                    f"budget 'tokens' keeps {count} of each of {tiles[label]} tiles, but {label} has {size} tokens; "
                    f"lower `keep`, or say `if_short: keep_all`"
                )
            counts.append(min(count, size))
        return fill(layout, groups, "tile", counts)

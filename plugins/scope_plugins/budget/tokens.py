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
    per: Literal["image", "tile", "frame", "video", "total"] = "image"
    """The unit that keeps this many tokens; a video counts as one image, and ``video`` takes images that share a prompt
    for frames of one video. A unit's number is divided among its parts exactly: 640 among 3 tiles is 214+213+213.
    ``tile`` and ``frame`` hold for each of them with the partition of that name; those that are selected together only
    keep the sum."""
    if_short: Literal["error", "keep_all"] = "error"
    """The behaviour where a unit has fewer tokens than ``keep``."""
    tiles: Literal["exact", "floor"] = "exact"
    """Division of an image's number among its tiles: ``exact``, or ``floor(keep / tiles)`` for each, as in published
    code: 640 among 3 is then 3 x 213."""


class Tokens(Budget[TokensSpec]):
    """``keep`` tokens of every unit."""

    additive = True

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; sums are exact, except with ``tiles: floor``."""
        if self.spec.tiles == "floor" and self.spec.per == "image":
            return self._floored(layout, groups)
        counts = []
        for label, size in units(layout, groups, self.spec.per):
            if self.spec.keep > size and self.spec.if_short == "error":
                raise BudgetError(
                    f"budget 'tokens' keeps {self.spec.keep} per {self.spec.per}, but {label} has {size} tokens; lower "
                    f"`keep`, or set `if_short: keep_all`"
                )
            counts.append(min(self.spec.keep, size))
        return fill(layout, groups, self.spec.per, counts)

    def _floored(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        counts = []
        tiles = {
            f"{layout.name_of(image)}, tile {tile}": sum(size > 0 for size in entry.tiles)
            for image, entry in enumerate(layout.images)
            for tile, tokens in enumerate(entry.tiles)
            if tokens
        }
        for label, size in units(layout, groups, "tile"):
            count = self.spec.keep // tiles[label]
            if count == 0 < self.spec.keep:
                raise BudgetError(
                    f"budget 'tokens' divides {self.spec.keep} tokens equally among {tiles[label]} tiles, which "
                    f"leaves none for {label}; raise `keep`, or set `tiles: exact`"
                )
            if count > size and self.spec.if_short == "error":
                raise BudgetError(
                    f"budget 'tokens' keeps {count} of each of {tiles[label]} tiles, but {label} has {size} tokens; "
                    f"lower `keep`, or set `if_short: keep_all`"
                )
            counts.append(min(count, size))
        return fill(layout, groups, "tile", counts)

"""Marks: what an overlay shows of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scope_core.display import brief_repr, card, counted, image_html, table_html
from scope_core.drawing.patches import Patches, Tile, painted
from scope_core.drawing.text import percent
from scope_core.errors import TokensError
from scope_core.structures.places import Places

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.structures.tokens import VisualTokens


SMALL = 96
"""Pixels of a map in a notebook."""


@dataclass(frozen=True, eq=False)
class Marks:
    """What an overlay shows of a selection.

    Attributes:
        tokens: The tokens that were selected from.
        picks: (B, K) int64 picked tokens in order, -1 where a row is shorter.
        stage: (B, K) int64 step that made each pick; None if there was one step.
        merged: (B, N) bool: tokens that were merged into kept ones; None if nothing is merged.
        rows: Number of tokens that a language model gets of each image.
    """

    tokens: VisualTokens
    picks: Tensor
    stage: Tensor | None
    merged: Tensor | None
    rows: tuple[int, ...]

    __repr__ = brief_repr

    def patches(self, image: int, places: Places, *, first: int | None = None, numbers: bool = False) -> Patches:
        """What is shown of one image.

        Args:
            image: Its row.
            places: The places of its tokens.
            first: Show only this many picks; all if left out.
            numbers: True to number the kept patches.
        """
        picks = [pick for pick in self.picks[image].tolist() if pick >= 0][:first]
        steps = [0] * len(picks) if self.stage is None else self.stage[image].tolist()
        shown = [(cell, step) for pick, step in zip(picks, steps, strict=False) if (cell := places.cells[pick])]
        flags = [] if self.merged is None or first is not None else self.merged[image].tolist()
        return Patches(
            picks=[cell for cell, _ in shown],
            stages=None if self.stage is None else [step for _, step in shown],
            merged=[cell for cell, flag in zip(places.cells, flags, strict=False) if flag and cell],
            present=places.present,
            numbers=numbers,
        )

    def caption(self, image: int, places: Places, first: int | None = None) -> tuple[str, str]:
        """``("64 of 576 kept", "")``, and a sentence on tokens that the patches do not show."""
        picks = [pick for pick in self.picks[image].tolist() if pick >= 0]
        outside = sum(places.cells[pick] is None for pick in picks[:first])
        more = [f"{outside} kept token{'s have' if outside > 1 else ' has'} no place on the image"] if outside else []
        if self.merged is not None:
            added = self.rows[image] - len(picks)
            rows = f"; {added} row{'s' if added > 1 else ''} added by the merger" if added > 0 else ""
            more.append(f"{int(self.merged[image].sum())} merged{rows}")
        count = len(picks) if first is None else min(first, len(picks))
        return f"{count} of {places.valid} kept", "; ".join(more)


def maps_html(marks: Marks, most: int = 4) -> str:
    """Small maps of the kept tokens of the first images, for notebooks; empty if tokens have no places."""
    maps = []
    for image in range(min(most, marks.picks.shape[0])):
        places = Places.of(marks.tokens, image)
        if places.extents:
            tiles = [Tile(grid) for grid in places.grids([None] * len(places.extents))]
            small = painted(tiles, marks.patches(image, places), SMALL)
            maps.append(image_html(small, f"image {image}: {marks.caption(image, places)[0]}"))
    return "".join(maps)


def selection_html(marks: Marks, coverage: Sequence[float]) -> str:
    """A selection in a notebook, from its theta-coverage at 0.8."""
    rows = []
    for image, share in enumerate(coverage):
        count, more = marks.caption(image, Places.of(marks.tokens, image))
        rows.append((image, count, percent(share), more))
    aside = counted(len(coverage), "image")
    return card(
        "Selection", maps_html(marks), table_html(("image", "tokens", "coverage at 0.8", ""), rows), aside=aside
    )


def places_of(tokens: VisualTokens, name: str = "") -> list[Places]:
    """The places of each image's tokens.

    Raises:
        TokensError: the tokens of an image have no places.
    """
    found = [Places.of(tokens, image) for image in range(tokens.shape[0])]
    for image, places in enumerate(found):
        if not places.extents:
            raise TokensError(
                f"the tokens of image {image}{f' ({name})' if name else ''} have no grid positions (row and col are "
                f"-1), so nothing can be drawn; if they are a grid, give grid=(rows, columns) to scope.select or "
                f"VisualTokens.of"
            )
    return found

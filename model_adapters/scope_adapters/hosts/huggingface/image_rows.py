"""One call's images between the tower and the language model: rows, candidates, separators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_core import AttachError, Selection, VisualTokens


@dataclass(frozen=True)
class Encoded:
    """One call's images after the tower and the projector.

    Attributes:
        output: What ``get_image_features`` returned.
        rows: (n_i, D) per image: what the language model would read, in placeholder order.
        tokens: The candidates, one group per image.
        places: (N_i,) int64 per image: the row of each candidate; None where candidate j is row j.
        separators: ``(image, kept) -> `` (n_i,) bool: rows that stay besides the kept ones, given as a
            (n_i,) bool; None where every row is a candidate.
        placeholders: Per image, how many the prompt holds, where that is not one for each row; kept rows go to
            the first of them. None where row j belongs to placeholder j.
        geometry: Whatever the adapter's `layout_of` needs to know.
        project: ``(R, D) features of the candidates -> rows``: the projector, where tokens are merged before it; None
            where they are merged as rows.
    """

    output: Any
    rows: list[Tensor]
    tokens: VisualTokens
    places: list[Tensor] | None = None
    separators: Callable[[int, Tensor], Tensor] | None = None
    placeholders: Sequence[int] | None = None
    geometry: Any = None
    project: Callable[[Tensor], Tensor] | None = None

    def rows_kept(self, image: int, mask: Tensor) -> Tensor:
        """(n_i,) bool: the rows of ``image`` that stay, for a (N,) mask of kept candidates."""
        row = self.rows[image]
        if self.places is None:
            return mask[: len(row)].to(row.device)
        place = self.places[image].to(row.device)
        kept = torch.zeros(len(row), dtype=torch.bool, device=row.device)
        kept[place[mask[: len(place)].to(row.device)]] = True
        return kept if self.separators is None else kept | self.separators(image, kept)

    def separators_kept(self, selection: Selection) -> list[int]:
        """How many rows of each image stay besides those of kept candidates."""
        stay = [int(self.rows_kept(image, mask).sum()) for image, mask in enumerate(selection.mask)]
        return [rows - count for rows, count in zip(stay, selection.counts, strict=True)]

    def places_kept(self, image: int, flags: Tensor, rows: int, own: bool) -> Tensor:
        """(P_i,) bool: the placeholders of ``image`` that stay: its rows' own, or the first ones.

        Args:
            image: Which.
            flags: (n_i,) bool: its rows that stay.
            rows: How many rows the language model gets in the end.
            own: Whether each of them is in the place of its own placeholder.

        Raises:
            AttachError: there are more rows than the prompt has placeholders for.
        """
        if self.placeholders is None and own:
            return flags
        count = len(flags) if self.placeholders is None else self.placeholders[image]
        if rows > count:
            raise AttachError(
                f"image {image}: {rows} tokens are to be kept, but the prompt has {count} placeholders for it, and "
                f"prompts can only be shortened; keep at most {count}"
            )
        return torch.arange(count, device=flags.device) < rows


def in_place(selection: Selection) -> bool:
    """Whether every row for the language model stands in the place of a kept token."""
    return selection.order == "raster" and sum(selection.row_counts) == sum(selection.counts)


def rows_for(encoded: Encoded, selection: Selection, image: int, flags: Tensor) -> Tensor:
    """(R_i, D) what the language model reads of one image: kept tokens, merged or not, in the spec's order.

    Args:
        encoded: All images.
        selection: What is kept of them.
        image: Which.
        flags: (n_i,) bool: its rows that stay, separators included.

    Raises:
        AttachError: separators stay, and kept tokens leave the order in which they lie between them.
    """
    row, count = encoded.rows[image], selection.row_counts[image]
    if selection.mixed is None and selection.order == "raster":
        return row[flags]
    source = selection.rows[image, :count].to(row.device)
    place = (
        torch.arange(len(row), device=row.device) if encoded.places is None else encoded.places[image].to(row.device)
    )
    made = _mixed(encoded, selection, image, row, place) if selection.mixed is not None else row[place[source]]
    apart = flags.clone()
    apart[place[source[source >= 0]]] = False
    if selection.order != "raster":
        if bool(apart.any()):
            raise AttachError(
                f"image {image}: with `order: {selection.order}` kept tokens leave their rows, and {int(apart.sum())} "
                f"newline tokens between the rows stay; drop them by the adapter's options, or leave `order` out"
            )
        return made
    return torch.cat([made, row[apart]])[raster(source, place, apart)]


def raster(source: Tensor, place: Tensor, apart: Tensor) -> Tensor:
    """Order of an image's rows with separators in between.

    Args:
        source: (R,) int64 the kept candidate of each row; -1 for rows that a merger added, which go in front of all,
            or right behind the last of all the kept tokens that they follow.
        place: (N,) int64 the feature row of each candidate.
        apart: (n,) bool: feature rows that stay besides, which count after the R rows.
    """
    at = place[source.clamp(min=0)].masked_fill(source < 0, -1)
    at = torch.where(source >= 0, at.double(), at.cummax(0).values + 0.5)  # candidates need not lie in order
    return torch.cat([at, apart.nonzero()[:, 0].double()]).argsort(stable=True)


def _mixed(encoded: Encoded, selection: Selection, image: int, row: Tensor, place: Tensor) -> Tensor:
    """(R_i, D) rows that are mixes of candidates: made before the projector where the adapter can, else after it."""
    count, mixed = selection.row_counts[image], selection.mixed
    if encoded.project is not None:
        tokens = encoded.tokens
        cls = tokens.signal(mixed.cls_signal) if mixed is not None and mixed.cls_signal else None
        return encoded.project(selection.merge(tokens.features, cls)[image, :count]).to(row)
    weight = mixed.weights[image, :count, : len(place)]  # type: ignore[union-attr]
    return (weight.to(row.device) @ row[place].to(weight.dtype)).to(row)

"""Images between the tower and the language model: rows, candidates, separators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scope_core import AttachError, Selection, VisualTokens

_TOO_FEW = (
    "image {0}: {1} tokens are kept, but the prompt has {2} placeholders for it, and prompts can only be shortened; "
    "keep at most {2}"
)


@dataclass(frozen=True)
class Encoded:
    """One call's images after tower and projector.

    Attributes:
        output: Result of ``get_image_features``.
        rows: (n_i, D) per image: the rows that an unpruned language model would read, in placeholder order.
        tokens: The candidates, one group per image.
        places: (N_i,) int64 per image: the row of each candidate; None if candidate j is row j.
        separators: ``(image, kept) -> `` (n_i,) bool: the other rows that stay, for kept rows given as (n_i,) bool;
            None if every row is a candidate.
        placeholders: Number of placeholders per image, if the layout has not one for each row; kept rows take the
            first of them. None if row j belongs to placeholder j.
        geometry: Data for the adapter's `layout_of`.
        project: ``(R, D) features of the candidates -> rows``: the projector, if tokens are merged before it; None if
            they are merged as rows.
        parts: The items of each kind, if the call has videos; empty for images alone.
        lasting: Arguments of the call that the model reads for more than encoding, such as grids, if they were kept.
    """

    output: Any
    rows: list[Tensor]
    tokens: VisualTokens
    places: list[Tensor] | None = None
    separators: Callable[[int, Tensor], Tensor] | None = None
    placeholders: Sequence[int] | None = None
    geometry: Any = None
    project: Callable[[Tensor], Tensor] | None = None
    parts: tuple[Part, ...] = ()
    lasting: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_kind(self) -> tuple[Part, ...]:
        """The items of each kind, also of images alone."""
        return self.parts or (Part("image", self, tuple(range(len(self.rows)))),)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each item, "image" or "video"."""
        found = {number: part.kind for part in self.by_kind for number in part.numbers}
        return tuple(found[number] for number in range(len(self.rows)))

    @property
    def counts(self) -> list[int]:
        """The number of placeholders of each item."""
        return list(self.placeholders or map(len, self.rows))

    def project_of(self, image: int) -> Callable[[Tensor], Tensor] | None:
        """`project` of one image or video."""
        return next((part.encoded.project for part in self.parts if image in part.numbers), self.project)

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
        """The number of rows of each image that stay besides those of kept candidates."""
        stay = [int(self.rows_kept(image, mask).sum()) for image, mask in enumerate(selection.mask)]
        return [rows - count for rows, count in zip(stay, selection.counts, strict=True)]

    def places_kept(self, image: int, flags: Tensor, rows: int, same_place: bool) -> Tensor:
        """(P_i,) bool: the placeholders of an image that stay: those of its kept rows, or the first ones.

        Args:
            image: Number of the image.
            flags: (n_i,) bool: its rows that stay.
            rows: Number of rows that the language model gets.
            same_place: True if each of them takes its own placeholder.

        Raises:
            AttachError: the prompt has fewer placeholders than rows.
        """
        if self.placeholders is None and same_place:
            return flags
        count = len(flags) if self.placeholders is None else self.placeholders[image]
        if rows > count:
            raise AttachError(_TOO_FEW.format(image, rows, count))
        return torch.arange(count, device=flags.device) < rows


@dataclass(frozen=True)
class Part:
    """The images of a call that has videos, or its videos.

    Attributes:
        kind: ``"image"`` or ``"video"``.
        encoded: The items of this kind alone.
        numbers: The number of each among all items of the call.
    """

    kind: str
    encoded: Encoded
    numbers: tuple[int, ...]


def own_places(selection: Selection, image: int, count: int) -> Tensor:
    """(R,) int64 the placeholder of each row of an image, for positions of several axes: that of its token.

    Rows that a merger added take the nearest free placeholder to the row before them.

    Args:
        selection: The selection; candidate j is placeholder j.
        image: Number of the image.
        count: Number of its placeholders.

    Raises:
        AttachError: there are fewer placeholders than rows.
    """
    sources = selection.rows[image, : selection.row_counts[image]].tolist()
    if len(sources) > count:
        raise AttachError(_TOO_FEW.format(image, len(sources), count))
    free = sorted(set(range(count)) - set(sources))
    own, before = [], 0
    for source in sources:
        place = source if source >= 0 else min((abs(spot - before), spot) for spot in free)[1]
        if source < 0:
            free.remove(place)
        own.append(place)
        before = place
    return torch.tensor(own, dtype=torch.int64)


def in_place(selection: Selection) -> bool:
    """True if every row for the language model takes the place of a kept token."""
    return selection.order == "raster" and sum(selection.row_counts) == sum(selection.counts)


def rows_for(encoded: Encoded, selection: Selection, image: int, flags: Tensor) -> Tensor:
    """(R_i, D) rows of one image for the language model: kept tokens, merged or not, in the spec's order.

    Args:
        encoded: All images.
        selection: The selection of their tokens.
        image: Number of the image.
        flags: (n_i,) bool: its rows that stay, separators included.

    Raises:
        AttachError: separators stay, but kept tokens leave their rows.
    """
    row, count = encoded.rows[image], selection.row_counts[image]
    if selection.mixed is None and selection.order == "raster":
        return row[flags]
    source = selection.rows[image, :count].to(row.device)
    place = (
        torch.arange(len(row), device=row.device) if encoded.places is None else encoded.places[image].to(row.device)
    )
    rows = _merged(encoded, selection, image, row, place) if selection.mixed is not None else row[place[source]]
    apart = flags.clone()
    apart[place[source[source >= 0]]] = False
    if selection.order != "raster":
        if bool(apart.any()):
            raise AttachError(
                f"image {image}: with `order: {selection.order}` kept tokens leave their rows, but {int(apart.sum())} "
                f"newline tokens between the rows stay; drop them by the adapter's options, or omit `order`"
            )
        return rows
    return torch.cat([rows, row[apart]])[raster(source, place, apart)]


def raster(source: Tensor, place: Tensor, apart: Tensor) -> Tensor:
    """The order of an image's rows with the separators between them.

    Args:
        source: (R,) int64 the kept candidate of each row; -1 for rows that a merger added, which come after the kept
            tokens before them in the selection, or first if there are none.
        place: (N,) int64 the feature row of each candidate.
        apart: (n,) bool: separators that stay, numbered after the R rows.
    """
    at = place[source.clamp(min=0)].masked_fill(source < 0, -1)
    at = torch.where(source >= 0, at.double(), at.cummax(0).values + 0.5)  # candidates may be in another order
    return torch.cat([at, apart.nonzero()[:, 0].double()]).argsort(stable=True)


def _merged(encoded: Encoded, selection: Selection, image: int, row: Tensor, place: Tensor) -> Tensor:
    """(R_i, D) merged rows: merged before the projector if the adapter allows it, else after it."""
    count, merged = selection.row_counts[image], selection.mixed
    if (project := encoded.project_of(image)) is not None:
        tokens = encoded.tokens
        cls = tokens.signal(merged.cls_signal) if merged is not None and merged.cls_signal else None
        return project(selection.merge(tokens.features, cls)[image, :count]).to(row)
    weight = merged.weights[image, :count, : len(place)]  # type: ignore[union-attr]
    return (weight.to(row.device) @ row[place].to(weight.dtype)).to(row)

"""One call's images between the tower and the language model: rows, candidates, separators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scope_core import AttachError

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Selection, VisualTokens


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
    """

    output: Any
    rows: list[Tensor]
    tokens: VisualTokens
    places: list[Tensor] | None = None
    separators: Callable[[int, Tensor], Tensor] | None = None
    placeholders: Sequence[int] | None = None
    geometry: Any = None

    def rows_kept(self, image: int, mask: Tensor) -> Tensor:
        """(n_i,) bool: the rows of ``image`` that stay, for a (N,) mask of kept candidates."""
        import torch

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

    def places_kept(self, image: int, flags: Tensor) -> Tensor:
        """(P_i,) bool: the placeholders of ``image`` that stay, for the (n_i,) bool of its rows that do.

        Raises:
            AttachError: more rows stay than the prompt has placeholders for.
        """
        import torch

        if self.placeholders is None:
            return flags
        rows, count = int(flags.sum()), self.placeholders[image]
        if rows > count:
            raise AttachError(
                f"image {image}: {rows} tokens are to be kept, but the prompt has {count} placeholders for it, and "
                f"prompts can only be shortened; keep at most {count}"
            )
        return torch.arange(count, device=flags.device) < rows


def merged(encoded: Encoded, selection: Selection, image: int) -> Tensor:
    """The rows that stay of one image, each candidate among them replaced by its mix of all candidates."""
    import torch

    count, row = selection.counts[image], encoded.rows[image]
    place = torch.arange(len(row)) if encoded.places is None else encoded.places[image]
    place = place.to(row.device)
    weight = selection.weights[image, :count, : len(place)].to(row)  # type: ignore[index]
    order = place[selection.kept[image, :count].to(row.device)]
    full = row.clone()
    full[order] = weight @ row[place]
    return full[encoded.rows_kept(image, selection.mask[image])]

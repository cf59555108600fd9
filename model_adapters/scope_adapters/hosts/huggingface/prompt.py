"""Shortened prompts: placeholders are dropped from ids and from every per-token tensor. Pure tensor functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scope_core import AttachError


@dataclass(frozen=True)
class Shortened:
    """A shortened batch of prompts.

    Attributes:
        index: (B, L') int64: the position in the full prompt of each remaining one.
        kept: (B, L') bool: False for positions that only pad shorter rows.
        dropped: (B, L) bool: True for dropped placeholders of the full prompt.
        plain: True for one prompt without padding.
        sources: (B, L') int64: the position in the full prompt that each remaining one stands for, if rows were moved;
            None if that is `index`.
    """

    index: Tensor
    kept: Tensor
    dropped: Tensor
    plain: bool = False
    sources: Tensor | None = None

    def moved(self, ids: Tensor, placeholder: int, places: Sequence[Tensor], counts: Sequence[int]) -> Shortened:
        """The same, with `sources`.

        Args:
            ids: (B, L) the full prompts.
            placeholder: Id of image placeholders.
            places: Per image, the placeholder of each of its rows; see `own_places`.
            counts: Placeholders of each image.
        """
        stands_for = torch.arange(ids.shape[1], device=ids.device).repeat(len(ids), 1)
        spots = torch.split((ids == placeholder).nonzero(), list(counts))
        for spot, own in zip(spots, places, strict=True):
            there, meant = spot[own.sort().values.to(spot.device)], spot[own.to(spot.device)]
            stands_for[there[:, 0], there[:, 1]] = meant[:, 1]
        return replace(self, sources=stands_for.gather(1, self.index.to(ids.device)))

    def take(self, tensor: Tensor, fill: float, *, by_source: bool = False) -> Tensor:
        """The remaining positions of a (B, L) tensor; with ``by_source``, the values of what they stand for."""
        index = self.sources if by_source and self.sources is not None else self.index
        taken = tensor.gather(1, index.to(tensor.device))
        return taken if self.plain else taken.masked_fill(~self.kept.to(tensor.device), fill)


def owners(ids: Tensor, placeholder: int, sizes: Sequence[int], item: str = "image") -> list[int]:
    """The row of each image, images taken in placeholder order.

    Models check only the batch's total, so a wrong distribution over rows would pass silently.

    Args:
        ids: (B, L) token ids.
        placeholder: Id of image placeholders.
        sizes: Number of placeholders of each image.
        item: ``"image"`` or ``"video"``, for messages.

    Raises:
        AttachError: a row's placeholders are not those of whole images.
    """
    left = list(enumerate(sizes))[::-1]
    rows: list[int] = []
    for row, count in enumerate((ids == placeholder).sum(1).tolist()):
        while count > 0 and left:
            image, size = left.pop()
            if size > count:
                raise AttachError(
                    f"prompt {row} has {count} {item} placeholders left for {item} {image}, which has {size} tokens; "
                    f"the processor and the model disagree about {item} sizes, or the prompt was cut"
                )
            count -= size
            rows.append(row)
        if count > 0:
            raise AttachError(
                f"prompt {row} has {count} {item} placeholders (id {placeholder}) more than its {item}s fill; "
                f"{len(sizes)} {item}s were given with {list(sizes)} tokens"
            )
    if left:
        raise AttachError(
            f"{len(sizes)} {item}s were given, but the prompts have placeholders (id {placeholder}) for {len(rows)} "
            f"only"
        )
    return rows


def runs(ids: Tensor, placeholder: int) -> list[tuple[int, int, int]]:
    """``(row, start, stop)`` of each unbroken run of placeholders, in placeholder order."""
    places = torch.nn.functional.pad(ids == placeholder, (1, 1)).long().diff(dim=1)
    starts, stops = (places == 1).nonzero().tolist(), (places == -1).nonzero().tolist()
    return [(row, start, stop) for (row, start), (_, stop) in zip(starts, stops, strict=True)]


def shorten(ids: Tensor, attention_mask: Tensor | None, placeholder: int, keep: Tensor) -> Shortened:
    """The positions that remain.

    Padding that dropped placeholders make unnecessary is dropped, too: a short prompt beside a long one needs less of
    it once the long one is pruned. Padding that every row has stays.

    Args:
        ids: (B, L) token ids.
        attention_mask: (B, L) or None; decides on which side shorter rows are padded.
        placeholder: Id of image placeholders.
        keep: (P,) bool, one entry per placeholder in row-major order.

    Returns:
        Positions in their old order, as many as the longest row has.
    """
    places = ids == placeholder
    stays = (~places).masked_scatter_(places, keep.to(ids.device))
    dropped = ~stays
    if len(ids) == 1 and (attention_mask is None or bool(attention_mask.all())):  # one prompt, no padding
        index = stays.nonzero()[None, :, 1]
        return Shortened(index, torch.ones_like(index, dtype=torch.bool), dropped, plain=True)
    attended = torch.ones_like(places) if attention_mask is None else attention_mask.to(ids.device) != 0
    right = bool((~attended[:, -1]).any())
    content = attended | places
    padding = (content.flip(1) if right else content).cumsum(1) == 0
    length = int((~dropped & ~(padding.flip(1) if right else padding)).sum(1).max() + padding.sum(1).min())
    order = torch.argsort((dropped if right else ~dropped).int(), dim=1, stable=True)
    index = order[:, :length] if right else order[:, order.shape[1] - length :]
    return Shortened(index, ~dropped.gather(1, index), dropped)


def compact_positions(full: Tensor, short: Shortened, mask: Tensor | None = None) -> Tensor:
    """(B, L') the caller's position ids, without the gaps of dropped placeholders.

    A position that is not above the one before it starts a new sequence (after padding, or in packed prompts), unless
    it is padding itself; positions dropped from one sequence do not move the next.
    """
    dropped = short.dropped.to(full.device).to(full.dtype)
    before = dropped.cumsum(1) - dropped
    first = torch.ones_like(full[:, :1], dtype=torch.bool)
    starts = torch.cat([first, full.diff(dim=1) <= 0], 1)
    starts = starts if mask is None else starts & mask.to(starts.device).bool()
    in_earlier = before.masked_fill(~starts, 0).cummax(1).values
    return short.take(full - (before - in_earlier), 0)


FILLS: Mapping[str, int] = {"labels": -100, "token_type_ids": 0, "mm_token_type_ids": 0}
"""Per-token tensors that run along the ids, and their padding value."""

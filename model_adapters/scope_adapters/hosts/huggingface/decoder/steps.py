"""Bookkeeping of stages inside the language model: a table of the positions, and its change by each stage.

Pure tensor functions; B prompts, L positions before a stage, M after it. Positions that pad shorter rows are not valid:
no real token attends to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_core import Selection, VisualTokens

TEXT, SEPARATOR, ADDED = -1, -2, -3
"""Values of `Table.candidate`: a text token or padding, a newline token, a row that a merger added."""


@dataclass(frozen=True)
class Table:
    """The positions of the prompts; each attribute (B, L) int64, except ``valid``.

    Attributes:
        valid: bool: False for padding.
        source: Its position when the prompt entered the language model; for a row that a merger added, that of the
            token before it.
        image: Its image, -1 for text.
        candidate: Its number among the image's candidates, or `TEXT`, `SEPARATOR` or `ADDED`.
        row: Its row in the image's features, -1 for text and for rows that a merger added.
        key: A number that it keeps through all stages; -1 for padding.
    """

    valid: Tensor
    source: Tensor
    image: Tensor
    candidate: Tensor
    row: Tensor
    key: Tensor

    def columns(self, image: int, prompt: int, *, by_candidate: bool = False) -> Tensor:
        """(n,) the positions of an image's tokens, in the order of the prompt or in that of the candidates."""
        tokens = self.valid[prompt] & (self.image[prompt] == image) & (self.candidate[prompt] != SEPARATOR)
        columns = tokens.nonzero()[:, 0]
        return columns[self.candidate[prompt, columns].argsort()] if by_candidate else columns

    def end(self, image: int, prompt: int) -> int:
        """The last source of the image; -1 if none of its tokens is left."""
        sources = self.source[prompt][(self.image[prompt] == image) & self.valid[prompt]]
        return int(sources.max()) if len(sources) else -1

    def texts_after(self, end: int, prompt: int) -> Tensor:
        """(m,) the positions of the text tokens whose source is after ``end``."""
        return (self.valid[prompt] & (self.image[prompt] < 0) & (self.source[prompt] > end)).nonzero()[:, 0]


@dataclass(frozen=True)
class Step:
    """The change of the prompts by one stage.

    Attributes:
        length: L, number of positions before the stage.
        index: (B, M) int64 position before the stage of each position after it.
        table: The positions after the stage.
        positions: (B, M) int64 their position ids; None if positions have several axes, which they keep.
        shift: (B,) number by which position ids after the prompt get smaller; None if no position id changes, so that
            the rotary embedding need not be computed again.
        merge: ``states (B, L, D) -> (rows, D)`` merged rows of all images; None if nothing is merged.
        merged: (B, M) int64 the merged row at each position, -1 without one.
    """

    length: int
    index: Tensor
    table: Table
    positions: Tensor | None
    shift: Tensor | None
    merge: Callable[[Tensor], Tensor] | None = None
    merged: Tensor | None = None

    def take(self, states: Tensor, beams: int) -> Tensor:
        """(B * beams, M + T, D) from (B * beams, L + T, D) states; the T positions after the prompt stay."""
        prompt = states[:, : self.length]
        taken = along(prompt, spread(self.index, beams))
        if self.merge is not None and self.merged is not None:  # beams share their prompt: it is merged once
            rows = self.merge(prompt[::beams])
            if len(rows):  # else no image keeps a token
                number = spread(self.merged, beams).to(rows.device)
                taken = torch.where(number[..., None] >= 0, rows[number.clamp(min=0)], taken)
        return torch.cat([taken, states[:, self.length :]], 1)


def along(tensor: Tensor, index: Tensor) -> Tensor:
    """(R, M, ...) entries of ``tensor`` (R or 1, L, ...) at ``index`` (R, M)."""
    index = index.to(tensor.device)
    tensor = tensor.expand(index.shape[0], *tensor.shape[1:])
    wide = index.view(*index.shape, *[1] * (tensor.dim() - 2)).expand(*index.shape, *tensor.shape[2:])
    return tensor.gather(1, wide)


def spread(tensor: Tensor, beams: int) -> Tensor:
    """One row per beam of each prompt."""
    return tensor if beams == 1 else tensor.repeat_interleave(beams, 0)


def rearranged(
    table: Table,
    selection: Selection,
    columns: Sequence[Tensor],
    prompts: Sequence[int],
    stays: Callable[[int, Tensor], Tensor] | None,
    *,
    right: bool,
) -> tuple[Tensor, Table, Tensor] | None:
    """The prompts after a selection.

    In raster order kept tokens stay in place. In another order they are distributed among the places of kept tokens.
    A row that a merger adds comes right after the token before it in the selection.

    Args:
        table: The positions before.
        selection: One group per image, tokens in the order of ``columns``.
        columns: (n_i,) positions of each image's tokens.
        prompts: The prompt of each image.
        stays: ``(image, kept rows) -> `` (n,) bool along the image's feature rows, the separators that stay; None if
            every separator stays.
        right: True if shorter rows are padded on the right.

    Returns:
        (B, M) position before of each position after, the new table, and (B, M) the number of the selection's row at
        each position, counted through all images (-1: none). None if nothing changes.
    """
    sources, counts = selection.rows.cpu(), selection.row_counts
    width = sources.shape[1]
    moved: list[tuple[Tensor, Tensor, Tensor]] = []
    next_key = int(table.key.max()) + 1
    same = selection.mixed is None
    for prompt in range(table.valid.shape[0]):
        images = [image for image, owner in enumerate(prompts) if owner == prompt]
        stay = _staying(table, selection, columns, prompt, images, stays)
        column = stay.nonzero()[:, 0].cpu()
        at, index, row, key = [column.double()], [column], [torch.full_like(column, -1)], [torch.zeros_like(column)]
        for image in images:
            mine, source = columns[image].cpu(), sources[image, : counts[image]]
            added = source < 0
            kept = mine[source[~added]]
            slots = kept if selection.order == "raster" else kept.sort().values
            turn = (~added).cumsum(0) - 1
            fallback = mine[:1] if len(slots) == 0 else slots
            slot = fallback[turn.clamp(min=0)].double()
            slot = torch.where(added, slot + torch.where(turn < 0, -0.5, 0.5), slot)
            place = fallback[turn.clamp(min=0)].clone()
            place[~added] = kept
            at.append(slot)
            index.append(place)
            row.append(image * width + torch.arange(counts[image], device="cpu"))
            key.append(added.long())
        order = torch.cat(at).argsort(stable=True)
        moved.append(tuple(torch.cat(part)[order] for part in (index, row, key)))  # type: ignore[arg-type]
        whole = table.valid[prompt].nonzero()[:, 0].cpu()
        same = same and len(whole) == len(order) and bool((moved[-1][0] == whole).all())
    if same:
        return None
    device = table.valid.device
    places, rows, added = (_padded([part[n] for part in moved], right).to(device) for n in range(3))
    valid = places >= 0
    at_old = places.clamp(min=0)
    taken = {name: along(getattr(table, name), at_old) for name in ("source", "image", "candidate", "row", "key")}
    fresh = valid & (added > 0)
    taken["key"] = torch.where(fresh, next_key + fresh.flatten().cumsum(0).view_as(fresh) - 1, taken["key"])
    taken["candidate"] = taken["candidate"].masked_fill(fresh, ADDED)
    taken["row"] = taken["row"].masked_fill(fresh, -1)
    blank = {"source": -1, "image": -1, "candidate": TEXT, "row": -1, "key": -1}
    parts = {name: tensor.masked_fill(~valid, blank[name]) for name, tensor in taken.items()}
    return at_old, Table(valid=valid, **parts), rows.masked_fill(~valid, -1)


def _staying(
    table: Table,
    selection: Selection,
    columns: Sequence[Tensor],
    prompt: int,
    images: Sequence[int],
    stays: Callable[[int, Tensor], Tensor] | None,
) -> Tensor:
    """(L,) bool: text, and the separators that stay."""
    stay = table.valid[prompt] & (table.image[prompt] < 0)
    for image in images:
        beside = table.valid[prompt] & (table.image[prompt] == image) & (table.candidate[prompt] == SEPARATOR)
        if stays is not None and bool(beside.any()):
            kept = columns[image][selection.mask[image, : len(columns[image])].to(columns[image].device)]
            rows = table.row[prompt, kept]
            remain = stays(image, rows[rows >= 0])
            beside = beside & remain.to(beside.device)[table.row[prompt].masked_fill(~beside, 0)]
        stay = stay | beside
    return stay


def _padded(rows: Sequence[Tensor], right: bool) -> Tensor:
    if right:
        return pad_sequence(list(rows), batch_first=True, padding_value=-1)
    return pad_sequence([row.flip(0) for row in rows], batch_first=True, padding_value=-1).flip(1)


def tokens_left(tokens: VisualTokens, table: Table, columns: Sequence[Tensor], prompts: Sequence[int]) -> VisualTokens:
    """The encoder's tokens that are left, with their places in the grid, tiles, and the encoder's signals.

    Args:
        tokens: All tokens of the encoder, one group per image.
        table: The positions now.
        columns: (n_i,) positions of each image's tokens.
        prompts: The prompt of each image.
    """
    count = tokens.shape[1]
    left = [table.candidate[prompt, mine] for prompt, mine in zip(prompts, columns, strict=True)]
    candidate = pad_sequence(left, batch_first=True, padding_value=TEXT).to(tokens.device)
    if candidate.shape[1] == 0:
        candidate = candidate.new_full((len(left), 1), TEXT)
    first = torch.arange(len(left), device=tokens.device)[:, None] * count
    index = (first + candidate.clamp(min=0)).masked_fill(candidate == TEXT, -1)
    taken = tokens.regroup(index)
    added = candidate == ADDED
    return replace(
        taken,
        valid=candidate != TEXT,
        required=taken.required & ~added,
        row=taken.row.masked_fill(added, -1),
        col=taken.col.masked_fill(added, -1),
    )


def mask_of(valid: Tensor, queries: int, like: Tensor | None, dtype: torch.dtype | None) -> Tensor:
    """(R, 1, queries, K) attention mask: each query sees the valid keys up to its own place, and itself.

    Args:
        valid: (R, K) bool; the queries are the last of the K places.
        queries: Number of queries.
        like: (R, 1, queries, T) bool: the model's own mask of the last T places; None for a causal one.
        dtype: dtype of an additive mask; None for a bool mask.
    """
    keys = valid.shape[1]
    place = torch.arange(keys, device=valid.device)
    query = place[keys - queries :, None]
    seen = ((place <= query) & valid[:, None, :])[:, None]
    if like is not None:
        seen[..., keys - like.shape[3] :] &= like.to(seen.device)
    seen = seen | (place == query)  # padding sees itself, so that softmax is defined
    if dtype is None:
        return seen
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def seen_by(mask: Tensor) -> Tensor:
    """A 4-D attention mask, bool or additive, as bool: True where a query sees a key."""
    return mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2

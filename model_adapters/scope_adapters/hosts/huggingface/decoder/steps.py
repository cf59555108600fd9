"""Bookkeeping of stages inside the language model: what each position of a prompt is, and how a stage rearranges them.

Pure tensor functions; B prompts, L positions before a stage, M after it. Positions that only fill up shorter rows are
not valid: no real token attends to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_core import Selection, VisualTokens

TEXT, SEPARATOR, OWN = -1, -2, -3
"""In `Table.candidate`: a text token or padding, a newline token, a row that a merger added."""


@dataclass(frozen=True)
class Table:
    """What the positions of the prompts are, each (B, L) int64 but for ``valid``.

    Attributes:
        valid: bool: False for padding.
        source: Which position of the prompt that entered the language model it was; for rows of a merger's own, that
            of the token they stand behind.
        image: Which image it belongs to, -1 for text.
        candidate: Which candidate of that image it is, or one of `TEXT`, `SEPARATOR`, `OWN`.
        row: Which row of the image's features it was, -1 for text and for rows of a merger's own.
        key: A number that stays with it through all stages; -1 where it is filled up.
    """

    valid: Tensor
    source: Tensor
    image: Tensor
    candidate: Tensor
    row: Tensor
    key: Tensor

    def columns(self, image: int, prompt: int, *, by_candidate: bool = False) -> Tensor:
        """(n,) the positions of an image's tokens, in the order they are read, or in that of the candidates."""
        mine = self.valid[prompt] & (self.image[prompt] == image) & (self.candidate[prompt] != SEPARATOR)
        columns = mine.nonzero()[:, 0]
        return columns[self.candidate[prompt, columns].argsort()] if by_candidate else columns

    def end(self, image: int, prompt: int) -> int:
        """The last of the image's sources; -1 where nothing of it is there."""
        mine = self.source[prompt][(self.image[prompt] == image) & self.valid[prompt]]
        return int(mine.max()) if len(mine) else -1

    def texts_behind(self, end: int, prompt: int) -> Tensor:
        """(m,) the positions of the text tokens whose source is behind ``end``."""
        return (self.valid[prompt] & (self.image[prompt] < 0) & (self.source[prompt] > end)).nonzero()[:, 0]


@dataclass(frozen=True)
class Step:
    """What one stage made of the prompts.

    Attributes:
        length: L, positions of the prompts before the stage.
        index: (B, M) int64 position before the stage of each position after it.
        table: What the positions are now.
        positions: (B, M) int64 their position ids.
        shift: (B,) by how much position ids of what follows get smaller.
        afresh: Whether position ids are numbered anew, so that the rotary embedding is computed again.
        mix: ``states (B, L, D) -> (rows, D)`` mixed rows of all images; None where nothing is merged.
        mixed: (B, M) int64 which mixed row stands at each position, -1 where none does.
    """

    length: int
    index: Tensor
    table: Table
    positions: Tensor
    shift: Tensor
    afresh: bool
    mix: Callable[[Tensor], Tensor] | None = None
    mixed: Tensor | None = None

    def take(self, states: Tensor, beams: int) -> Tensor:
        """(B * beams, M + T, D) states of (B * beams, L + T, D): T positions that follow the prompt stay."""
        prompt = states[:, : self.length]
        taken = along(prompt, spread(self.index, beams))
        if self.mix is not None and self.mixed is not None:  # beams share their prompt: it is mixed once
            rows = self.mix(prompt[::beams])
            stands = spread(self.mixed, beams).to(rows.device)
            taken = torch.where(stands[..., None] >= 0, rows[stands.clamp(min=0)], taken)
        return torch.cat([taken, states[:, self.length :]], 1)


def along(tensor: Tensor, index: Tensor) -> Tensor:
    """(R, M, ...) entries of (R or 1, L, ...) at (R, M) positions."""
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
    """Where everything goes once ``selection`` is made.

    In raster order kept tokens stay where they are; in another one the places of kept tokens stay and the tokens move.
    Rows that a merger adds stand behind the token before them in the selection.

    Args:
        table: What the positions are.
        selection: One group per image, tokens in the order of ``columns``.
        columns: (n_i,) positions of each image's tokens.
        prompts: The prompt of each image.
        stays: ``(image, kept rows) -> `` (n,) bool along the image's feature rows, separators that stay among them;
            None where every separator stays.
        right: Whether shorter rows are filled up on the right.

    Returns:
        (B, M) position before of each position now, the new table, and (B, M) which of the selection's rows, counted
        through all images, is at each position (-1: none); None where nothing changes.
    """
    sources, counts = selection.rows.cpu(), selection.row_counts
    width = sources.shape[1]
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    next_key = int(table.key.max()) + 1
    same = selection.mixed is None
    for prompt in range(table.valid.shape[0]):
        here = [image for image, owner in enumerate(prompts) if owner == prompt]
        stay = _staying(table, selection, columns, prompt, here, stays)
        column = stay.nonzero()[:, 0].cpu()
        at, index, row, key = [column.double()], [column], [torch.full_like(column, -1)], [torch.zeros_like(column)]
        for image in here:
            mine, source = columns[image].cpu(), sources[image, : counts[image]]
            own = source < 0
            kept = mine[source[~own]]
            slots = kept if selection.order == "raster" else kept.sort().values
            turn = (~own).cumsum(0) - 1
            fallback = mine[:1] if len(slots) == 0 else slots
            slot = fallback[turn.clamp(min=0)].double()
            slot = torch.where(own, slot + torch.where(turn < 0, -0.5, 0.5), slot)
            place = fallback[turn.clamp(min=0)].clone()
            place[~own] = kept
            at.append(slot)
            index.append(place)
            row.append(image * width + torch.arange(counts[image], device="cpu"))
            key.append(own.long())
        order = torch.cat(at).argsort(stable=True)
        made.append(tuple(torch.cat(part)[order] for part in (index, row, key)))  # type: ignore[arg-type]
        whole = table.valid[prompt].nonzero()[:, 0].cpu()
        same = same and len(whole) == len(order) and bool((made[-1][0] == whole).all())
    if same:
        return None
    device = table.valid.device
    places, rows, own = (_filled([part[n] for part in made], right).to(device) for n in range(3))
    valid = places >= 0
    at_old = places.clamp(min=0)
    taken = {name: along(getattr(table, name), at_old) for name in ("source", "image", "candidate", "row", "key")}
    fresh = valid & (own > 0)
    taken["key"] = torch.where(fresh, next_key + fresh.flatten().cumsum(0).view_as(fresh) - 1, taken["key"])
    taken["candidate"] = taken["candidate"].masked_fill(fresh, OWN)
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
    """(L,) bool: text, and the separators that go on beside what is kept."""
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


def _filled(rows: Sequence[Tensor], right: bool) -> Tensor:
    if right:
        return pad_sequence(list(rows), batch_first=True, padding_value=-1)
    return pad_sequence([row.flip(0) for row in rows], batch_first=True, padding_value=-1).flip(1)


def carried(tokens: VisualTokens, table: Table, columns: Sequence[Tensor], prompts: Sequence[int]) -> VisualTokens:
    """The encoder's tokens as they are left: places in the grid, tiles, and the encoder's signals go with them.

    Args:
        tokens: One group per image, as they left the encoder.
        table: What the positions are.
        columns: (n_i,) positions of each image's tokens.
        prompts: The prompt of each image.
    """
    count = tokens.shape[1]
    made = [table.candidate[prompt, mine] for prompt, mine in zip(prompts, columns, strict=True)]
    candidate = pad_sequence(made, batch_first=True, padding_value=TEXT).to(tokens.device)
    if candidate.shape[1] == 0:
        candidate = candidate.new_full((len(made), 1), TEXT)
    first = torch.arange(len(made), device=tokens.device)[:, None] * count
    index = (first + candidate.clamp(min=0)).masked_fill(candidate == TEXT, -1)
    taken = tokens.regroup(index)
    own = candidate == OWN
    return replace(
        taken,
        valid=candidate != TEXT,
        required=taken.required & ~own,
        row=taken.row.masked_fill(own, -1),
        col=taken.col.masked_fill(own, -1),
    )


def mask_of(valid: Tensor, queries: int, like: Tensor | None, dtype: torch.dtype | None) -> Tensor:
    """(R, 1, queries, K) attention mask: each query sees the valid keys up to its own place, and itself.

    Args:
        valid: (R, K) bool; the queries are the last of the K places.
        queries: How many.
        like: (R, 1, queries, T) bool: what queries see of the last T places, where the model says more than causal.
        dtype: Of an additive mask; None for a bool one.
    """
    keys = valid.shape[1]
    place = torch.arange(keys, device=valid.device)
    query = place[keys - queries :, None]
    seen = ((place <= query) & valid[:, None, :])[:, None]
    if like is not None:
        seen[..., keys - like.shape[3] :] &= like.to(seen.device)
    seen = seen | (place == query)  # filled places see themselves, so that softmax has something to go by
    if dtype is None:
        return seen
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)


def seen_by(mask: Tensor) -> Tensor:
    """A 4-D attention mask, bool or additive, as bool."""
    return mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2

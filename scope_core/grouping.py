"""From images to groups that are selected together, and back."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scope_core.structures.layout import Layout, Plan
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


def group_index(plan: Plan, tokens: VisualTokens) -> Tensor | None:
    """(G, M) flat token indices of each group, -1 for padding; None where groups are the rows as they are."""
    whole = [((image, 0, entry.tokens),) for image, entry in enumerate(plan.layout.images)]
    if whole == [tuple((s.image, s.start, s.stop) for s in group) for group in plan.groups]:
        return None
    count = tokens.shape[1]
    if not plan.layout.images or not any(image.tokens for image in plan.layout.images):
        return torch.full((len(plan.groups), 1), -1, dtype=torch.int64, device=tokens.device)
    places = [row.nonzero().flatten() + image * count for image, row in enumerate(tokens.valid)]
    members = [torch.cat([places[s.image][s.start : s.stop] for s in group]) for group in plan.groups]
    return torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)


def ungroup(selection: Selection, index: Tensor, tokens: VisualTokens) -> Selection:
    """Rows per image again; each image's picks follow the order of the groups they came from."""
    count = tokens.shape[1]
    live = selection.picks >= 0
    flat = index.gather(1, selection.picks.clamp(min=0))[live]
    owner = flat // count

    def per_image(column: Tensor, fill: float) -> Tensor:
        rows = [column[owner == image] for image in range(tokens.shape[0])]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

    def assigned(places: Tensor) -> Tensor:
        made = torch.full_like(tokens.row, -1).flatten()
        real = (index >= 0) & (places >= 0)
        here, there = index[real], index.gather(1, places.clamp(min=0))[real]
        same = here // count == there // count  # a token folded into another image's has no home in its own
        made[here[same]] = there[same] % count
        return made.view_as(tokens.row)

    return replace(
        selection,
        picks=per_image(flat % count, -1),
        gains=per_image(selection.gains[live], torch.nan),
        scores=per_image(selection.scores[live], torch.nan),
        stage=None if selection.stage is None else per_image(selection.stage[live], 0),
        assigned=None if selection.assigned is None else assigned(selection.assigned),
        allotted=None,  # what was said of groups
        tokens=tokens,
    )


def with_tiles(tokens: VisualTokens, layout: Layout) -> VisualTokens:
    """The tokens with the tile of each taken from the layout; as they are where the layout does not fit them."""
    if [image.tokens for image in layout.images] != tokens.valid.sum(1).tolist():
        return tokens  # refused with both counts when pruning
    tile = torch.zeros_like(tokens.tile)
    for row, here, image in zip(tile, tokens.valid, layout.images, strict=True):
        sizes = torch.tensor(image.tiles, dtype=torch.int64, device=tile.device)
        row[here] = torch.arange(len(sizes), device=tile.device).repeat_interleave(sizes)
    return replace(tokens, tile=tile)

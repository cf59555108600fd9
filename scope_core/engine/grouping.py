"""From images to groups that are selected together, and back."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scope_core.structures.layout import Layout, Plan
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


def with_tiles(tokens: VisualTokens, layout: Layout) -> VisualTokens:
    """The tokens with the tile of each taken from the layout; as they are where the layout does not fit them."""
    if [image.tokens for image in layout.images] != tokens.valid.sum(1).tolist():
        return tokens  # refused with both counts when pruning
    tile = torch.zeros_like(tokens.tile)
    for row, here, image in zip(tile, tokens.valid, layout.images, strict=True):
        sizes = torch.tensor(image.tiles, dtype=torch.int64, device=tile.device)
        row[here] = torch.arange(len(sizes), device=tile.device).repeat_interleave(sizes)
    return replace(tokens, tile=tile)

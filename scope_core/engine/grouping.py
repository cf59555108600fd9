"""From images to the groups of tokens that are selected together."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scope_core.structures.layout import Layout, Plan
from scope_core.structures.tokens import VisualTokens


def group_index(plan: Plan, tokens: VisualTokens) -> Tensor | None:
    """(G, M) flat token indices of each group, -1 for padding; None if each group is one whole image."""
    whole = [((image, 0, entry.tokens),) for image, entry in enumerate(plan.layout.images)]
    if whole == [tuple((s.image, s.start, s.stop) for s in group) for group in plan.groups]:
        return None
    count = tokens.shape[1]
    if not plan.layout.images or not any(image.tokens for image in plan.layout.images):
        return torch.full((len(plan.groups), 1), -1, dtype=torch.int64, device=tokens.device)
    indices = [row.nonzero().flatten() + image * count for image, row in enumerate(tokens.valid)]
    members = [torch.cat([indices[s.image][s.start : s.stop] for s in group]) for group in plan.groups]
    return torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)


def with_tiles(tokens: VisualTokens, layout: Layout) -> VisualTokens:
    """The tokens with each one's tile taken from the layout; unchanged if the layout has other counts."""
    if [image.tokens for image in layout.images] != tokens.valid.sum(1).tolist():
        return tokens  # pruning refuses them later, with both counts in the message
    tile = torch.zeros_like(tokens.tile)
    for row, valid, image in zip(tile, tokens.valid, layout.images, strict=True):
        if len(image.tiles) == 1:
            continue
        sizes = torch.tensor(image.tiles, dtype=torch.int64, device=tile.device)
        row[valid] = torch.arange(len(sizes), device=tile.device).repeat_interleave(sizes)
    return replace(tokens, tile=tile)

"""Pruned prompts put together by hand: loops over the canvas, and picks by oracles in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import oracles
import torch
from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import get_anyres_image_grid_shape
from tiny import GRID, PINPOINTS, SIDE, Prompts
from torch import Tensor


def rows_of(kind: str, size: tuple[int, int]) -> list[int | None]:
    """Which patch (tile * n + patch) each row of an image is, None for newlines."""
    count = GRID * GRID + ("cls_patch" in kind)
    if kind.startswith("1.5"):
        return list(range(count))
    across, down = get_anyres_image_grid_shape(size, PINPOINTS, SIDE)
    if kind == "1.6 flat":
        return list(range((1 + across * down) * count))
    rows: list[int | None] = list(range(count))
    height, width = down * GRID, across * GRID
    lines, columns = (0, height), (0, width)
    if "unpad" in kind and size[0] / size[1] > width / height:
        spare = (height - int(size[1] * (width / size[0]))) // 2
        lines = (spare, height - spare)
    elif "unpad" in kind:
        spare = (width - int(size[0] * (height / size[1]))) // 2
        columns = (spare, width - spare)
    for line in range(*lines):
        for column in range(*columns):
            tile = 1 + line // GRID * across + column // GRID
            rows.append(tile * count + line % GRID * GRID + column % GRID)
        rows += [None] if "unpad" in kind else []
    return rows


def tower_pass(model: Any, given: Prompts) -> tuple[list[Tensor], list[Tensor]]:
    """Features and CLS attention of the patches of each image, tiles one after another, by eager attention maps."""
    wrapper = model.get_vision_tower()
    tower = copy.deepcopy(wrapper.vision_tower)
    if hasattr(tower, "set_attn_implementation"):
        tower.set_attn_implementation("eager")
    first = int(wrapper.select_feature == "patch")
    features, scores = [], []
    for image in given.images:
        with torch.no_grad():
            out = tower(image if image.ndim == 4 else image[None], output_hidden_states=True, output_attentions=True)
        features.append(out.hidden_states[wrapper.select_layer][:, first:].flatten(0, 1))
        scores.append(out.attentions[-2][:, :, 0, first:].sum(1).flatten())
    return features, scores


def pruned(model: Any, kind: str, given: Prompts, keep: Sequence[int]) -> dict[str, Tensor]:
    """``inputs_embeds`` and mask with ``keep[i]`` of SCOPE's picks of the i-th image that a prompt shows."""
    features, scores = tower_pass(model, given)
    counts, table = iter(keep), model.get_input_embeddings().weight
    parts = []
    for image, (own, score) in enumerate(zip(features, scores, strict=True)):
        if not bool((given.ids[given.owners[image]] == IMAGE_TOKEN_INDEX).any()):
            parts.append(own[:0])
            continue
        rows = rows_of(kind, given.sizes[image])
        candidates = sorted(row for row in rows if row is not None)
        cosine = oracles.cosine_matrix(own[candidates].numpy())
        picks, _, _ = oracles.scope_picks(cosine, score[candidates].numpy(), next(counts))
        kept = {candidates[pick] for pick in picks}
        with torch.no_grad():
            projected = model.get_model().mm_projector(own)
        newline = getattr(model.get_model(), "image_newline", None)
        parts.append(
            torch.stack([newline if row is None else projected[row] for row in rows if row is None or row in kept])
        )
    made = []
    for number, (ids, mask) in enumerate(zip(given.ids, given.mask.bool(), strict=True)):
        own_parts = iter([parts[image] for image, row in enumerate(given.owners) if row == number])
        pieces = [next(own_parts) if i == IMAGE_TOKEN_INDEX else table[i][None] for i in ids[mask].tolist()]
        made.append(torch.cat(pieces).detach())
    longest, left = max(map(len, made)), model.config.tokenizer_padding_side == "left"
    embeds = torch.zeros(len(made), longest, table.shape[1])
    attended = torch.zeros(len(made), longest, dtype=torch.int64)
    for number, row in enumerate(made):
        where = slice(longest - len(row), None) if left else slice(len(row))
        embeds[number, where], attended[number, where] = row, 1
    return {"inputs_embeds": embeds, "attention_mask": attended}

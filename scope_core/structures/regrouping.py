"""The fields of tokens in other groups: put together anew by an index, or a part of the groups they are in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scope_core.structures.signals import token_axis

PLANES = ("valid", "required", "row", "col", "tile", "image", "frame")
"""Fields of shape (B, N) that tokens always have."""


def regrouped(fields: Mapping[str, Any], index: Tensor) -> tuple[dict[str, Any], bool]:
    """The fields of `VisualTokens.regroup`, and True if ``index`` is known to hold no padding.

    Args:
        fields: The fields of the tokens as they are.
        index: (G, M) int64 into the flattened tokens, -1 for padding.
    """
    batch, count, _ = fields["features"].shape
    # groups that hold all tokens in their order, such as the images of one prompt, are copied by no index
    whole = index.numel() == batch * count and index.device.type == "cpu"
    whole = whole and torch.equal(index.flatten(), torch.arange(batch * count))
    full = whole or (index.device.type == "cpu" and index.numel() > 0 and int(index.amin()) >= 0)
    real, flat = (index >= 0, index.clamp(min=0)) if not full else (index, index)

    def take(tensor: Tensor) -> Tensor:
        if whole:
            return tensor.reshape(*index.shape, *tensor.shape[2:])
        return tensor.reshape(batch * count, *tensor.shape[2:])[flat]

    def place(tensor: Tensor, fill: float = -1) -> Tensor:
        return take(tensor) if full else take(tensor).masked_fill(~real, fill)

    def take_signal(name: str, tensor: Tensor) -> Tensor:
        axis = token_axis(name, tuple(tensor.shape), batch, count)
        if axis is None:
            return tensor[flat[:, 0] // count]
        return take(tensor.movedim(axis, 1)).movedim(1, axis)

    masks = {name: take(fields[name]) for name in ("valid", "required")}
    saliency, time = fields["saliency"], fields["time"]
    made = {
        "features": take(fields["features"]),
        **(masks if full else {name: mask & real for name, mask in masks.items()}),
        **{name: place(fields[name]) for name in PLANES if name not in masks},
        "signals": fields["signals"].map(take_signal),
        "saliency": None if saliency is None else take(saliency),
        "time": None if time is None else place(time, math.nan),
    }
    return made, full


def narrowed(fields: Mapping[str, Any], group: int, count: int, groups: int) -> dict[str, Any]:
    """The fields of `VisualTokens.only`, of which ``fields`` are those of the tokens as they are."""
    batch, width, _ = fields["features"].shape

    def take(tensor: Tensor) -> Tensor:
        return tensor[group : group + groups, :count]

    def take_signal(name: str, tensor: Tensor) -> Tensor:
        axis = token_axis(name, tuple(tensor.shape), batch, width)
        rows = tensor[group : group + groups]
        return rows if axis is None else rows.narrow(axis, 0, count)

    planes = ("features", *PLANES, "saliency", "time")
    made = {name: None if fields[name] is None else take(fields[name]) for name in planes}
    return {**made, "signals": fields["signals"].map(take_signal)}

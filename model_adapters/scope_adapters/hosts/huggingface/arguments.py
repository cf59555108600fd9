"""What a call brings along its prompt: which arguments, of which shapes, and how much is cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from scope_adapters.hosts.huggingface.prompt import FILLS
from scope_core import AttachError


def along_prompt(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments that run along the prompt."""
    return {name: kwargs[name] for name in ("attention_mask", "position_ids", *FILLS) if kwargs.get(name) is not None}


PRE_ENCODED = (
    "this call brings image features that were encoded elsewhere, so there is nothing to prune by; pass pixel_values "
    "with input_ids, or detach the pruner first"
)


def check_shapes(along: Mapping[str, Any], ids: Tensor, axes: tuple[int, ...]) -> None:
    """Refuse tensors that do not run along the prompt, and so could not be shortened with it."""
    numbers = {(1, ids.shape[1]), *((count, *ids.shape) for count in axes)}
    for name, tensor in along.items():
        shape = tuple(getattr(tensor, "shape", ()))
        if shape != tuple(ids.shape) and not (name == "position_ids" and shape in numbers):
            what = f"shape {shape}" if shape else f"type {type(tensor).__name__}"
            more = f" or {' or '.join(map(str, axes))} axes of that" if name == "position_ids" and axes else ""
            raise AttachError(
                f"{name} is of {what}; it has to run along input_ids, so be (B, L) = {tuple(ids.shape)}{more}, to be "
                f"shortened with the prompt"
            )

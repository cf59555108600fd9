"""Arguments that run along the prompt, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from scope_adapters.hosts.huggingface.prompt import FILLS
from scope_core import AttachError


def along_prompt(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that run along the prompt."""
    return {name: kwargs[name] for name in ("attention_mask", "position_ids", *FILLS) if kwargs.get(name) is not None}


PRE_ENCODED = (
    "this call has image features that were encoded elsewhere, without the signals that pruning needs; pass "
    "pixel_values with input_ids, or detach the pruner first"
)


def check_shapes(along: Mapping[str, Any], ids: Tensor, axes: tuple[int, ...]) -> None:
    """Refuse tensors that do not run along the prompt, since they cannot be shortened with it."""
    numbers = {(1, ids.shape[1]), *((count, *ids.shape) for count in axes)}
    for name, tensor in along.items():
        shape = tuple(getattr(tensor, "shape", ()))
        if shape != tuple(ids.shape) and not (name == "position_ids" and shape in numbers):
            what = f"shape {shape}" if shape else f"type {type(tensor).__name__}"
            more = f" or {' or '.join(map(str, axes))} axes of that" if name == "position_ids" and axes else ""
            raise AttachError(
                f"{name} has {what}; to be shortened with the prompt it has to run along input_ids, (B, L) = "
                f"{tuple(ids.shape)}{more}"
            )

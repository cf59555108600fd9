"""What a trial proves of a model, once: its geometry, and the tower that its tokens come from."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.shuffled import Patches
from scope_adapters.compat.signatures import parameters
from scope_adapters.compat.transformers import base_of, base_path, installed_version, why_no_rows
from scope_adapters.hosts.huggingface.proof import Geometry, prove, unproven
from scope_adapters.hosts.huggingface.proof_video import prove_video
from scope_adapters.hosts.huggingface.trial import NO_WEIGHTS, untriable
from scope_adapters.hosts.methods import check_host
from scope_adapters.towers.layouts import LAYOUTS, ResolvedTower, resolve_tower
from scope_core import AdapterError

_PROVEN: weakref.WeakKeyDictionary[Any, Geometry] = weakref.WeakKeyDictionary()


def geometry_of(model: Any) -> Geometry:
    """The geometry of a model, proven once; see `prove`."""
    if model not in _PROVEN:
        placeholder, why = placeholder_of(model), untriable(model)
        if why.startswith(NO_WEIGHTS):
            return unproven()
        if why:
            raise AdapterError(f"{type(model).__name__}: its geometry cannot be proven, since {why}")
        known = prove(model, placeholder)
        _PROVEN[model] = replace(known, video=prove_video(model, known, placeholder))
    return _PROVEN[model]


def placeholder_of(model: Any) -> int:
    """The id of image placeholders.

    Raises:
        AdapterError: the config names none.
    """
    found = getattr(model.config, "image_token_id", None)
    if not isinstance(found, int):
        raise AdapterError(
            f"{type(model).__name__}: its config has no image_token_id, so the places of images in a prompt are unknown"
        )
    return found


def check_proven(model: Any) -> None:
    """Refuse models that rows cannot be passed to, or whose geometry cannot be proven.

    Raises:
        AdapterError: says what is missing.
    """
    name = type(model).__name__
    if "mm_encoder_outputs" not in parameters(type(model).forward):
        raise AdapterError(
            f"no adapter is written for {name}, and adapter 'generic' serves models whose forward() takes "
            f"mm_encoder_outputs, as those of transformers 5.18 and later do; that of the installed transformers "
            f"{installed_version()} does not"
        )
    if why := why_no_rows(model):
        raise AdapterError(f"{name}: {why}. Select from bare tensors (docs/bare-tensors.md)")
    check_host(model, name)
    geometry_of(model)


def tower_of(model: Any) -> ResolvedTower | None:
    """The tower if its layout is known, and its tokens were seen to be squares of its patches."""
    base, path = base_of(model), base_path(model)
    ran = geometry_of(model).ran
    for name, module in base.named_children():
        if name in ran and getattr(getattr(module, "config", None), "model_type", None) in LAYOUTS:
            try:
                tower = resolve_tower(module, f"{path}.{name}")
            except AdapterError:
                return None
            return tower if patches_of(geometry_of(model), tower) is not None else None
    return None


def patches_of(known: Geometry, tower: ResolvedTower) -> Patches | None:
    """The patches of each token of a blank image, row by row; None if tokens are not squares of patches."""
    pixels = known.images.get("pixel_values")
    if known.grid is None or not isinstance(pixels, Tensor) or pixels.dim() != 4:
        return None
    (rows, cols), grid = known.grid.size, tower.grid(*pixels.shape[-2:])
    side = grid[0] // rows
    if grid != (rows * side, cols * side):
        return None
    numbers = torch.arange(grid[0] * grid[1]).view(rows, side, cols, side)
    return Patches(numbers.permute(0, 2, 1, 3).reshape(rows * cols, side**2), grid)

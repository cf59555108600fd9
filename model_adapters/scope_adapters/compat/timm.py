"""Names that differ between releases of timm, 0.9.10 to the newest."""

from __future__ import annotations

import inspect
import math
from typing import Any

ATTENTION = ("timm.layers.attention.Attention", "timm.models.vision_transformer.Attention")
"""The supported attention class, newest release first: its scores depend on query and key alone."""
NEEDED = ("blocks", "num_prefix_tokens", "patch_embed.patch_size", "forward_features")
"""Attributes of a tower that are used."""
NEEDED_OF_ATTENTION = ("q_norm", "k_norm", "scale")
"""Attributes of a block's attention that are used; norms are identities where query and key are not normed."""


def is_vision_transformer(module: Any) -> bool:
    """True for timm's own ``VisionTransformer`` and its subclasses, of any release."""
    return any(
        kind.__name__ == "VisionTransformer" and kind.__module__.startswith("timm.") for kind in type(module).__mro__
    )


def takes_cache_dir() -> bool:
    """True if ``timm.create_model`` takes a folder for weights; where it does not, it would pass it to the model."""
    import timm

    return "cache_dir" in inspect.signature(timm.create_model).parameters


def grid_of(patch_embed: Any, height: int | None, width: int | None) -> tuple[int, int]:
    """(rows, columns) of patches of an image of this size in pixels; by default of the tower's own image size."""
    if height is None or width is None:
        rows, cols = patch_embed.grid_size
    elif hasattr(patch_embed, "dynamic_feat_size"):  # timm 1.0
        rows, cols = patch_embed.dynamic_feat_size((height, width))
    else:
        whole = math.ceil if getattr(patch_embed, "dynamic_img_pad", False) else math.floor
        stem, patch = _reduction(patch_embed), patch_embed.patch_size
        rows, cols = whole(height // stem[0] / patch[0]), whole(width // stem[1] / patch[1])
    return int(rows), int(cols)


def _reduction(patch_embed: Any) -> tuple[int, int]:
    """The (vertical, horizontal) factors by which a convolutional stem shrinks an image; 1 without a stem."""
    if not hasattr(patch_embed, "backbone"):
        return 1, 1
    size, grid, patch = patch_embed.img_size, patch_embed.grid_size, patch_embed.patch_size
    return size[0] // (grid[0] * patch[0]), size[1] // (grid[1] * patch[1])

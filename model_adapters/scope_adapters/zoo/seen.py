"""Images and videos as a checkpoint's processor hands them to the model, to draw on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from scope_adapters.compat.processors import takes_sampling
from scope_adapters.zoo.hub_videos import pixels_of
from scope_core import ZooError
from scope_core.adapters import upright_rgb

if TYPE_CHECKING:
    from PIL.Image import Image


def seen_frames(processor: Any, frames: Sequence[Image]) -> list[Image]:
    """The frames as the model reads them, with their normalisation undone, one for each frame of tokens.

    Raises:
        ZooError: the processor returns pixels of an unknown form.
    """
    made = processor.video_processor
    options = {"do_sample_frames": False} if takes_sampling(made) else {}
    batch = made(videos=[pixels_of(frames)], return_tensors="pt", **options)
    if "video_grid_thw" in batch:  # patches in a row, of frames that were resized alone
        count, rows, columns = batch["video_grid_thw"][0].tolist()
        size = (columns * made.patch_size, rows * made.patch_size)
        return [frame.resize(size) for frame in frames[:: made.temporal_patch_size]][:count]
    pixels = next((value for value in batch.values() if getattr(value, "ndim", 0) == 5), None)
    if pixels is None or pixels.shape[2] != 3:
        raise ZooError(
            f"{type(made).__name__} returns no pixels of (videos, frames, channels, height, width), so what the model "
            f"reads of the video cannot be drawn; omit --out"
        )
    return _undone(torch.as_tensor(pixels[0]), made)


def seen(image_processor: Any, image: Any) -> Image | list[Image]:
    """The image as the model reads it, with its normalisation undone; a list if the processor cuts it into tiles.

    Args:
        image_processor: A processor of Hugging Face transformers.
        image: An image in any form that `scope_core.adapters.upright_rgb` reads.

    Raises:
        ZooError: the image cannot be read, or the processor returns pixels of an unknown form.
    """
    given = upright_rgb(image)
    batch = image_processor(images=[given], return_tensors="pt")
    pixels = torch.as_tensor(batch["pixel_values"])
    if pixels.dim() == 2 and "image_grid_thw" in batch:  # patches in a row, of an image that was resized alone
        _, rows, columns = batch["image_grid_thw"][0].tolist()
        return given.resize((columns * image_processor.patch_size, rows * image_processor.patch_size))
    tiles = pixels[0] if pixels.dim() == 5 else pixels
    if tiles.dim() != 4 or tiles.shape[1] != 3:
        raise ZooError(
            f"{type(image_processor).__name__} returns pixels of shape {tuple(pixels.shape)}, so what the model reads "
            f"of the image cannot be drawn"
        )
    views = _undone(tiles, image_processor)
    return views[0] if len(views) == 1 else views


def _undone(pixels: torch.Tensor, processor: Any) -> list[Image]:
    """(n, 3, H, W) normalised pixels as images."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    return [_image(((one * std + mean).clamp(0, 1) * 255).round().byte()) for one in pixels]


def _image(pixels: torch.Tensor) -> Image:
    from PIL.Image import frombytes

    raw = pixels.permute(1, 2, 0).contiguous()
    return frombytes("RGB", (raw.shape[1], raw.shape[0]), bytes(raw.flatten().tolist()))

"""A blank image as a model takes it: what its own image processor makes of one, at the model's own size."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.signatures import parameters, required
from scope_adapters.compat.transformers import base_of

_SIDE = 112
"""Side in pixels where the tower takes images of any size; a multiple of the usual patches and of pairs of them."""


def image_arguments(model: Any) -> tuple[str, ...]:
    """The arguments of ``get_image_features`` that ``forward`` takes, too: those that hold images come first."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(type(base_of(model)).get_image_features).parameters
    names = parameters(type(model).forward) - {"self"}
    return tuple(name for name, one in found.items() if name in names and one.kind in named)


def former_names(model: Any) -> dict[str, str]:
    """Names that processors still give to pixels, and what ``forward`` calls them now (Video-LLaVA's processor)."""
    names = image_arguments(model)
    old = (name for name in names if name.startswith("pixel_values_"))
    return dict.fromkeys(old, "pixel_values") if "pixel_values" in names else {}


def blank_images(model: Any) -> Iterator[Callable[[], dict[str, Any]]]:
    """Functions, each of which makes the arguments of ``get_image_features`` for one blank image or raises anything.

    First what the image processor of the model's type makes; then pixels of the commonest shapes.
    """
    names, vision = image_arguments(model), getattr(model.config, "vision_config", model.config)
    former = former_names(model)
    side = _side(vision) or _SIDE
    weight = next(model.parameters())
    for make in (
        partial(_processed, str(model.config.model_type)),
        partial(_by_shape, names, 4),
        partial(_by_shape, names, 5),
    ):
        yield partial(_fitting, make, vision, side, names, former, weight)


def blank_video(model: Any, images: Mapping[str, Any], frames: int) -> dict[str, Any] | str:
    """Arguments of ``get_video_features`` for a video of blank frames, pixels first; the reason if there are none.

    They are made from those of a blank image of packed patches: the patches of all frames one after another, and a
    grid of (frames, rows, columns).

    Args:
        model: The model.
        images: Arguments of ``get_image_features`` for one blank image.
        frames: Number of frames.
    """
    features = type(base_of(model)).get_video_features
    takes = parameters(features)
    beyond = sorted(name for name in parameters(type(model).forward) - takes if "video" in name)
    if beyond:
        return f"its forward() takes {', '.join(beyond)}, which get_video_features() does not"
    made = {
        "pixel_values_videos" if name == "pixel_values" else name.replace("image_", "video_", 1): value
        for name, value in images.items()
    }
    lacking = sorted({*required(features, takes - {"self"}), "video_grid_thw"} - {*made} | ({*made} - takes))
    if lacking:
        return f"its videos come with {', '.join(lacking)}, unlike a blank image"
    pixels, grid = made["pixel_values_videos"], made["video_grid_thw"]
    if grid.shape != (1, 3) or len(pixels) != int(grid.prod()) or int(grid[0, 0]) != 1:
        return "its videos are not packed patches with a grid of (frames, rows, columns)"
    moving = {
        "pixel_values_videos": torch.cat([pixels] * frames),
        "video_grid_thw": grid * grid.new_tensor([frames, 1, 1]),
    }
    return {**moving, **{name: value for name, value in made.items() if name not in moving}}


def _side(vision: Any) -> int | None:
    """Side of the images that a tower is built for; None if it takes any size."""
    size = getattr(vision, "image_size", None) or (getattr(vision, "model_args", None) or {}).get("img_size")
    return int(size[0] if isinstance(size, list | tuple) else size) if size else None


def _fitting(
    make: Callable[[Any, int], Mapping[str, Any]],
    vision: Any,
    side: int,
    names: Sequence[str],
    former: Mapping[str, str],
    weight: Tensor,
) -> dict[str, Any]:
    made = {former.get(name, name): value for name, value in make(vision, side).items()}
    return {name: _fit(made[name], weight) for name in names if name in made}


def _processed(kind: str, vision: Any, side: int) -> Mapping[str, Any]:
    from PIL import Image

    processor = _processor(kind)
    image, options = Image.new("RGB", (side, side), (128, 128, 128)), _options(processor, vision, side)
    try:
        made: Mapping[str, Any] = processor(images=[image], return_tensors="pt", **options)
    except TypeError:  # options that a call cannot change
        made = type(processor)(**options)(images=[image], return_tensors="pt")
    return made


def _processor(kind: str) -> Any:
    """The image processor of a model type, with its default options; the one that needs no torchvision if there is one.

    Raises:
        LookupError: transformers knows no image processor of this type.
    """
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    named = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind)
    names = list(named.values()) if isinstance(named, Mapping) else [named] if isinstance(named, str) else named or ()
    for name in list(names)[::-1]:
        try:
            return getattr(transformers, name)()
        except (AttributeError, ImportError, TypeError):
            continue
    raise LookupError(f"transformers names no image processor for the type '{kind}'")


def _options(processor: Any, vision: Any, side: int) -> dict[str, Any]:
    """Sizes of the model for its processor: defaults are those of the published checkpoint."""
    options: dict[str, Any] = {}
    for name in ("size", "crop_size") if _side(vision) else ():
        given = getattr(processor, name, None)
        keys = {key for key in ("height", "width", "shortest_edge", "longest_edge") if _entry(given, key) is not None}
        if keys and keys in ({"height", "width"}, {"shortest_edge"}, {"longest_edge"}):
            options[name] = dict.fromkeys(keys, side)
    pairs = ("patch_size", "patch_size"), ("temporal_patch_size",) * 2, ("merge_size", "spatial_merge_size")
    for theirs, ours in pairs:
        if None not in (getattr(processor, theirs, None), getattr(vision, ours, None)):
            options[theirs] = getattr(vision, ours)
    return options


def _entry(size: Any, key: str) -> Any:
    return size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)


def _by_shape(names: Sequence[str], axes: int, vision: Any, side: int) -> Mapping[str, Any]:
    """Blank pixels of the commonest shapes: (images, C, H, W), (1, images, C, H, W), or packed patches with a grid.

    Raises:
        LookupError: the model asks for more.
    """
    channels = int(getattr(vision, "in_channels", None) or getattr(vision, "num_channels", None) or 3)
    required = [name for name in names if not name.startswith("vision_")]
    if required == ["pixel_values"]:
        return {"pixel_values": torch.full((*[1] * (axes - 3), channels, side, side), 0.5)}
    if required == ["pixel_values", "image_grid_thw"]:
        patch, count = int(vision.patch_size), 4 * int(getattr(vision, "spatial_merge_size", 2))
        values = channels * int(getattr(vision, "temporal_patch_size", 1)) * patch**2
        return {
            "pixel_values": torch.full((count * count, values), 0.5),
            "image_grid_thw": torch.tensor([[1, count, count]]),
        }
    raise LookupError(f"no image processor is known that makes {', '.join(required)}")


def _fit(value: Any, weight: Tensor) -> Any:
    """A tensor on the model's device; pixels in its dtype."""
    if not isinstance(value, Tensor):
        return value
    return value.to(weight.device, weight.dtype) if value.is_floating_point() else value.to(weight.device)

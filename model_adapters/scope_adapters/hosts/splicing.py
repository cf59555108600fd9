"""Splicing of images into embeddings, and tracing of every position of a spliced prompt to its origin.

The model's own method splices twice, on shallow copies of the model that share its modules: once as it is, and once
with numbers in place of features and positions in place of labels. The second pass shows the origin of every position,
however tiles were packed, so no packing code is copied.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import cache_of, cached_length
from scope_core import AdapterError, AttachError

PREPARE = "prepare_inputs_labels_for_multimodal"
ARGUMENTS = ("input_ids", "position_ids", "attention_mask", "past_key_values", "labels", "images")
"""Arguments that the splicing method of every fork has."""
PLACEHOLDER = -200
"""``IMAGE_TOKEN_INDEX``: one per image, whatever its number of tokens."""
NEWLINE, MERGED = -1, -2
"""Sources of rows that are not one patch: newline tokens, and rows that merge several patches."""
_MARK, _BASE = -77, 128
"""The first channel of a numbered row, and the base of the digits in the next ones: exact in bfloat16."""
_DIGITS, _IMAGE_DIGITS, _CHECKS = 4, 2, 4
"""Number of channels for a patch's number, for its image's number, and for random numbers that merged rows do not
keep: half of them are complements of the others, so that no maximum of several rows equals one of the rows."""
_USED = 1 + _DIGITS + _IMAGE_DIGITS + _CHECKS
_MOST_TILES = 65
CHANGED = (
    "features changed between encode_images and the prompt, so no position can be traced to a patch; supported "
    "are flat, spatial and spatial_unpad tiles, also shrunk ones after an overview. See docs/write-an-adapter.md"
)


@dataclass(frozen=True)
class Placed:
    """The place of one image in the prompts.

    Attributes:
        image: Number of the image in the call.
        prompt: Row of the batch.
        positions: (R,) int64 positions in the spliced prompt, newlines included.
        source: (R,) int64: tile * n + patch of each, `NEWLINE` or `MERGED`.
        start: Row of its first patch among the patches of all images.
        tiles: Number of its tiles.
    """

    image: int
    prompt: int
    positions: Tensor
    source: Tensor
    start: int
    tiles: int

    @property
    def merged(self) -> bool:
        """True if some rows merge several patches."""
        return bool((self.source == MERGED).any())


def arguments_of(model: Any) -> tuple[str, ...]:
    """The names of the arguments of the model's splicing method, without self."""
    return tuple(inspect.signature(getattr(type(model), PREPARE)).parameters)[1:]


def copied(call: Mapping[str, Any]) -> dict[str, Any]:
    """The call with copies of tensors and lists, except images: some models write into the ids they get."""
    copies = {}
    for name, value in call.items():
        if name == "images" or name == "past_key_values":
            copies[name] = list(value) if type(value) is list else value
        else:
            copies[name] = value.clone() if hasattr(value, "clone") else copy.copy(value)
    return copies


def splice(model: Any, call: Mapping[str, Any], encode_images: Callable[[Any], Tensor]) -> tuple[Any, ...]:
    """The result of the model's splicing with another ``encode_images`` and without truncation.

    Args:
        model: The model, unwrapped.
        call: Arguments of its splicing method, which may write into them: see `copied`.
        encode_images: Replaces the model's own.

    Returns:
        ids (None), position ids, mask, cache, (B, L, D) embeddings, labels.
    """
    twin = copy.copy(model)
    twin.config = copy.copy(model.config)
    twin.config.tokenizer_model_max_length = None
    twin.encode_images = encode_images
    result: tuple[Any, ...] = getattr(type(model), PREPARE)(twin, **call)
    return result


def trace(model: Any, call: Mapping[str, Any], features: Tensor) -> tuple[Tensor, list[Placed]]:
    """The origin of every position, found by splicing numbers.

    Args:
        model: The model, unwrapped.
        call: Arguments of its splicing method.
        features: (T, n, D) result of ``encode_images`` for the call; only shape and device are used.

    Returns:
        (B, L) bool, False for padding; and the images that reached a prompt, in order.

    Raises:
        AttachError: a position cannot be traced to a patch.
    """
    tiles, count = tiles_of(call["images"]), features.shape[1]
    marks = _marked(features, tiles)
    real, embeds, labels = _spliced(model, call, marks)
    visual = real & (labels < 0)
    mine = visual & ((embeds[..., 0] - _MARK).abs() < 2)  # merging equal marks gives the mark, up to rounding
    source, owner = _read(embeds)
    known = marks.flatten(0, 1)[:, :_USED]
    pure = mine & (embeds[..., :_USED] == known[source.clamp(0, len(known) - 1)]).all(-1)
    owner = owner.masked_fill(~mine, -1).cummax(1).values.masked_fill(~visual, -1)  # newlines end what they follow
    if bool((visual & (owner < 0)).any()):
        raise AttachError(f"{type(model).__name__}: {CHANGED}")
    placed, start = [], 0
    for image, number in enumerate(tiles):
        rows, positions = (owner == image).nonzero(as_tuple=True)
        if len(rows):
            inside = (source[rows, positions] - start).masked_fill(~mine[rows, positions], NEWLINE)
            inside = torch.where(mine[rows, positions] & ~pure[rows, positions], MERGED, inside)
            placed.append(Placed(image, int(rows[0]), positions, inside, start, number))
            if placed[-1].merged and (number == 1 or inside[:count].tolist() != list(range(count))):
                raise AttachError(f"{type(model).__name__}, image {image}: {CHANGED}")
        start += number * count
    return real, placed


def repacked(model: Any, call: Mapping[str, Any], values: Tensor, width: int) -> Tensor:
    """(B, L, C): spliced prompts whose image rows hold ``values`` after the model's packing.

    Args:
        model: The model, unwrapped.
        call: Arguments of its splicing method.
        values: (T, n, C) values of all patches.
        width: D of the model.
    """
    packed = []
    for part in torch.split(values, width, dim=-1):
        padded = torch.nn.functional.pad(part, (0, width - part.shape[-1]))
        packed.append(_spliced(model, call, padded)[1][..., : part.shape[-1]])
    return torch.cat(packed, -1).to(values.dtype)


def planned(model: Any, size: tuple[int, int], patches: int) -> Placed:
    """The place of an image of ``size`` (height, width); its number of tiles is the first that splicing accepts.

    Raises:
        AdapterError: splicing accepts any number of tiles, or none.
    """
    config, name = model.config, type(model).__name__
    tiled = in_tiles(model)
    if tiled and not getattr(config, "mm_patch_merge_type", "flat").startswith("spatial"):
        raise AdapterError(
            f"{name} puts tiles one after another ('flat'), so splicing does not show how many tiles an image of "
            f"{size[0]} x {size[1]} pixels has; plan by counts instead: plan(Layout.of([[{patches}] * tiles, ...]))"
        )
    failed: Exception | None = None
    for tiles in range(2, _MOST_TILES) if tiled else (1,):
        call = one_image(model, tiles, size)
        try:
            _, (placed,) = trace(model, call, torch.zeros(tiles, patches, config.hidden_size, device=model.device))
        except AttachError:
            raise
        except (AssertionError, RuntimeError) as error:
            failed = error
        else:
            return placed
    raise AdapterError(f"{name} cannot lay out an image of {size[0]} x {size[1]} pixels: {failed}") from failed


def one_image(model: Any, tiles: int, size: tuple[int, int]) -> dict[str, Any]:
    """Arguments of the splicing method for a prompt of one word and one image of ``size`` (height, width)."""
    call: dict[str, Any] = dict.fromkeys(ARGUMENTS)
    call["input_ids"] = torch.tensor([[0, PLACEHOLDER]], device=model.device)
    pixels = torch.zeros(tiles, 3, 1, 1, device=model.device)
    call["images"] = [pixels] if in_tiles(model) else pixels
    if "image_sizes" in arguments_of(model):
        call["image_sizes"] = [size[::-1]]
    return call


def in_tiles(model: Any) -> bool:
    """True if the model cuts images into tiles."""
    return "anyres" in getattr(model.config, "image_aspect_ratio", "square")


def tiles_of(images: Any) -> list[int]:
    """The number of tiles of each image: t in a list of (t, 3, H, W) or in (B, t, 3, H, W), else 1."""
    if not isinstance(images, list | tuple) and images.ndim == 4:
        return [1] * len(images)
    return [len(image) if image.ndim == 4 else 1 for image in images]


def check_rows(embeds: Tensor, placed: Sequence[Placed], features: Tensor) -> None:
    """Refuse models that change image features while splicing, except by moving or merging them."""
    rows = features.flatten(0, 1)
    for image in placed:
        held = embeds[image.prompt, image.positions]
        patch, newline = image.source >= 0, held[image.source == NEWLINE]
        number = (image.start + image.source[patch]).clamp(max=len(rows) - 1)
        if not _same(held[patch], rows[number]) or not _same(newline, newline[:1].expand_as(newline)):
            raise AttachError(f"image {image.image}: {CHANGED}")


def _spliced(model: Any, call: Mapping[str, Any], features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L) bool, False for padding; (B, L, D) rows; and (B, L) position of each word in the ids, < 0 for images."""
    copies, ids = copied(call), call["input_ids"]
    given = copies.get("attention_mask")
    copies["position_ids"] = copies["past_key_values"] = None
    copies["attention_mask"] = torch.ones_like(ids) if given is None else given
    copies["labels"] = torch.arange(ids.shape[1], device=ids.device).expand_as(ids).clone()
    with torch.no_grad():
        _, _, real, _, embeds, labels = splice(model, copies, lambda _: features)
    return real.bool(), embeds, labels


def _marked(features: Tensor, tiles: Sequence[int]) -> Tensor:
    """(T, n, D) rows that hold the number of their patch and of their image, digit by digit, and random numbers."""
    total, count = features.shape[:2]
    if features.shape[2] < _USED:
        raise AttachError(f"rows of {features.shape[2]} channels cannot be traced; {_USED} are needed")
    rows = torch.zeros_like(features)
    number = torch.arange(total * count, device=rows.device).view(total, count)
    image = torch.arange(len(tiles), device=rows.device).repeat_interleave(torch.tensor(tiles, device=rows.device))
    rows[..., 0] = _MARK
    for digit in range(_DIGITS):
        rows[..., 1 + digit] = (number // _BASE**digit % _BASE).to(rows.dtype)
    for digit in range(_IMAGE_DIGITS):
        rows[..., 1 + _DIGITS + digit] = (image // _BASE**digit % _BASE).to(rows.dtype)[:, None]
    checks = torch.randint(_BASE, (total, count, _CHECKS // 2), generator=torch.Generator().manual_seed(0))
    rows[..., _USED - _CHECKS : _USED] = torch.cat([checks, _BASE - 1 - checks], -1).to(rows)
    return rows


def _read(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of the patch and of its image in marked rows; those of merged rows have no meaning."""
    digits = rows[..., 1 : 1 + _DIGITS + _IMAGE_DIGITS].round().long()
    powers = _BASE ** torch.arange(_DIGITS, device=rows.device)
    number = (digits[..., :_DIGITS] * powers).sum(-1)
    return number, (digits[..., _DIGITS:] * powers[:_IMAGE_DIGITS]).sum(-1)


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other.to(one), rtol=0, atol=0, equal_nan=True)


def check_no_cache(kwargs: Mapping[str, Any], config: Any) -> None:
    """Refuse ``generate`` with a filled cache: it makes embeddings of all ids that it gets, and numbers them from 0."""
    for given in (kwargs, vars(config) if config is not None else {}):
        if cached_length(cache_of(given)):
            raise AttachError(
                "generate() of this codebase cannot continue from a cache; pass the whole conversation with its "
                "images, or go on with forward() and new ids"
            )


def check_step(call: Mapping[str, Any], *, gapped: bool) -> None:
    """Refuse a step of ``forward`` after a pruned prompt whose mask or positions are not those of what pruning left.

    Args:
        call: Arguments of the splicing method.
        gapped: True if the prompt's positions have gaps, which the model does not continue by itself.
    """
    cache, mask, new = call.get("past_key_values"), call.get("attention_mask"), int(call["input_ids"].shape[1])
    cached = cached_length(cache)
    if cached and mask is not None and mask.shape[-1] != cached + new:
        raise AttachError(
            f"attention_mask counts {mask.shape[-1]} positions, but the cache holds {cached} and {new} are new; "
            f"continue with a mask of {cached + new}, e.g. `pruning.shorten(mask)` in place of the prompt's mask, or "
            f"with none"
        )
    if cached and gapped and call.get("position_ids") is None:
        raise AttachError(
            "the cached prompt has positions with gaps (`positions: original`), which the model does not continue by "
            "itself; pass position_ids of the whole conversation"
        )

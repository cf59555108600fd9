"""The original LLaVA codebase's host: ``prepare_inputs_labels_for_multimodal`` splices images into embeddings.

That method of one instance is wrapped. It runs twice, on shallow copies of the model that share its modules: once
as it is, under a probe; once with row numbers in place of features and positions in place of labels. The second run
tells where every position came from, whatever was done to tiles on the way, so no packing code is copied.
"""

from __future__ import annotations

import copy
import inspect
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from scope_adapters.hosts.encoded import Encoded, in_place, rows_for
from scope_adapters.hosts.methods import Method, check_free, unwrap
from scope_core import AdapterError, AttachError, ComponentSpec, ModelAdapter, replace_attribute

if TYPE_CHECKING:
    from torch import Tensor

    from scope_adapters.hosts.sequence import Shortened
    from scope_core import Attachment, Layout

S = TypeVar("S", bound=ComponentSpec)

PREPARE = "prepare_inputs_labels_for_multimodal"
ARGUMENTS = ("input_ids", "position_ids", "attention_mask", "past_key_values", "labels", "images", "image_sizes")
PLACEHOLDER = -200
"""``IMAGE_TOKEN_INDEX``: one per image, however many tokens it becomes."""
_MARK, _BASE, _DIGITS = -77, 128, 4
"""What the first channel of a numbered row holds, and how the next ones hold its number: exact in bfloat16."""
_MOST_TILES = 65


@dataclass(frozen=True)
class Placed:
    """Where one image went.

    Attributes:
        image: Its number in the call.
        prompt: Row of the batch.
        positions: (R,) int64 positions in the spliced prompt, newlines included.
        source: (R,) int64: tile * n + patch of each, -1 for newlines.
        start: Row of its first patch among those of all pictures.
        tiles: How many pictures it is made of.
    """

    image: int
    prompt: int
    positions: Tensor
    source: Tensor
    start: int
    tiles: int


class OriginalLlavaAdapter(ModelAdapter[S]):
    """The sequence side of models that splice images by ``prepare_inputs_labels_for_multimodal``."""

    @abstractmethod
    def watch(self, model: Any, attachment: Attachment) -> AbstractContextManager[dict[str, Any]]:
        """Watch one pass of tower and projector; what was seen is for `encode`."""

    @abstractmethod
    def encode(
        self,
        seen: Mapping[str, Any],
        tiles: Sequence[int],
        embeds: Tensor,
        placed: Sequence[Placed],
        attachment: Attachment,
    ) -> Encoded:
        """Candidates and rows of the images that reached a prompt, in order.

        Args:
            seen: From `watch`.
            tiles: Pictures of each image of the call.
            embeds: (B, L, D) the spliced prompts.
            placed: Where the images are in them.
            attachment: Whose signals and interception point count.
        """

    @abstractmethod
    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles and prompts of the encoded images."""

    def install(self, model: Any, attachment: Attachment, undo: ExitStack) -> None:
        """Wrap the splicing method, and ``generate`` for its limits on lengths."""
        inner = unwrap(model)
        check_free(inner, PREPARE)
        call = _Call(self, inner, attachment)
        for name, change in ((PREPARE, call.prepare), ("generate", call.generate)):
            replace_attribute(inner, name, Method(getattr(inner, name), change, attachment), undo)


def splice(model: Any, call: Mapping[str, Any], encode_images: Callable[[Any], Tensor]) -> tuple[Any, ...]:
    """The class' own splicing with another ``encode_images`` and without truncation; ``model`` is not touched.

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
    """Splice row numbers, and read off where every position came from.

    Args:
        model: The model, unwrapped.
        call: Arguments of its splicing method.
        features: (T, n, D) what ``encode_images`` returns for the call's pictures; only shape, dtype and device count.

    Returns:
        (B, L) bool, False for padding; and the images that reached a prompt, in order.
    """
    import torch

    ids, tiles = call["input_ids"], tiles_of(call["images"])
    given = call.get("attention_mask")
    blank = {
        "position_ids": None,
        "past_key_values": None,
        "attention_mask": torch.ones_like(ids) if given is None else given,
        "labels": torch.arange(ids.shape[1], device=ids.device).expand_as(ids),
    }
    with torch.no_grad():
        _, _, real, _, embeds, labels = splice(model, {**call, **blank}, lambda _: _marked(features))
    real, count = real.bool(), features.shape[1]
    visual = real & (labels < 0)
    mine = visual & (embeds[..., 0] == _MARK)
    powers = _BASE ** torch.arange(_DIGITS, device=embeds.device)
    source = (embeds[..., 1 : 1 + _DIGITS].long() * powers).sum(-1).masked_fill(~mine, -1)
    ends = torch.tensor(tiles, device=source.device).cumsum(0) * count
    owner = torch.bucketize(source, ends, right=True).masked_fill(~mine, -1)
    owner = owner.cummax(1).values.masked_fill(~visual, -1)  # newlines come after what they end
    if bool((visual & (owner < 0)).any()):
        raise AttachError(f"{type(model).__name__}: {_CHANGED}")
    placed = []
    for image, (end, number) in enumerate(zip(ends.tolist(), tiles, strict=True)):
        rows, positions = (owner == image).nonzero(as_tuple=True)
        if len(rows):
            start = end - number * count
            inside = source[rows, positions]
            inside = torch.where(inside < 0, -1, inside - start)
            placed.append(Placed(image, int(rows[0]), positions, inside, start, number))
    return real, placed


def planned(model: Any, size: tuple[int, int], patches: int) -> Placed:
    """Where an image of ``size`` (height, width) goes; wrong numbers of tiles do not fit the splicing and fail there.

    Raises:
        AdapterError: the model does not say how many tiles an image has, or no number of tiles fits.
    """
    import torch

    config, name = model.config, type(model).__name__
    tiled = "anyres" in getattr(config, "image_aspect_ratio", "square")
    if tiled and not getattr(config, "mm_patch_merge_type", "flat").startswith("spatial"):
        raise AdapterError(
            f"{name} puts tiles one after another ('flat'), so splicing does not tell how many an image of "
            f"{size[0]} x {size[1]} pixels has; plan by counts instead: plan(Layout.of([[{patches}] * tiles, ...]))"
        )
    failed: Exception | None = None
    for tiles in range(2, _MOST_TILES) if tiled else (1,):
        pictures = torch.zeros(tiles, 3, 1, 1, device=model.device)
        call: dict[str, Any] = dict.fromkeys(ARGUMENTS)
        call["input_ids"] = torch.tensor([[0, PLACEHOLDER]], device=model.device)
        call["images"], call["image_sizes"] = ([pictures], [size[::-1]]) if tiled else (pictures, None)
        try:
            _, (placed,) = trace(model, call, torch.zeros(tiles, patches, config.hidden_size, device=model.device))
        except (AssertionError, RuntimeError) as error:
            failed = error
        else:
            return placed
    raise AdapterError(f"{name} cannot lay out an image of {size[0]} x {size[1]} pixels: {failed}") from failed


def tiles_of(images: Any) -> list[int]:
    """Pictures that each image is made of: several in a list of (t, 3, H, W) or a (B, t, 3, H, W), else one."""
    if not isinstance(images, list | tuple) and images.ndim == 4:
        return [1] * len(images)
    return [len(image) if image.ndim == 4 else 1 for image in images]


def _marked(features: Tensor) -> Tensor:
    """(T, n, D) rows that hold their own number, digit by digit."""
    import torch

    made = torch.zeros_like(features)
    number = torch.arange(made.shape[0] * made.shape[1], device=made.device).view(made.shape[:2])
    made[..., 0] = _MARK
    for digit in range(_DIGITS):
        made[..., 1 + digit] = (number // _BASE**digit % _BASE).to(made.dtype)
    return made


_CHANGED = (
    "features changed between encode_images and the prompt, so nobody knows which patch a position holds; served are "
    "LLaVA-1.5's and 1.6's own ways (flat, spatial, spatial_unpad)"
)


class _Call:
    """The wrapped calls of one attached model."""

    def __init__(self, adapter: OriginalLlavaAdapter[Any], model: Any, attachment: Attachment) -> None:
        self.adapter, self.model, self.attachment = adapter, model, attachment
        self.lock = threading.Lock()  # hooks sit on shared modules: one capture at a time

    def generate(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Refuse limits that count a prompt which is about to get shorter."""
        images = kwargs.get("images", inspect.signature(inner).bind(*args, **kwargs).arguments.get("images"))
        config = kwargs.get("generation_config")
        for name, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            limit, instead = (kwargs.get(key) or getattr(config, key, None) for key in (name, new))
            if images is not None and limit and not instead:
                raise AttachError(f"{name} counts the prompt, which pruning shortens; give {new} to generate() instead")
        return inner(*args, **kwargs)

    def prepare(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Splice, select, and drop the positions that go; calls without images pass."""
        call = dict(inspect.signature(inner).bind(*args, **kwargs).arguments)
        if call.get("images") is None or call["input_ids"].shape[1] == 1:
            return inner(**call)
        self.check(call)
        features: list[Tensor] = []

        def encode_images(pictures: Any) -> Tensor:
            features.append(self.model.encode_images(pictures))
            return features[-1]

        with self.lock:
            start = time.perf_counter()
            with self.adapter.watch(self.model, self.attachment) as seen:
                spliced = splice(self.model, call, encode_images)
            encode_ms = (time.perf_counter() - start) * 1e3
        embeds = spliced[4]
        real, placed = trace(self.model, call, features[-1])
        check_rows(embeds, placed, features[-1])
        keep = real.clone()
        if placed:
            encoded = self.adapter.encode(seen, tiles_of(call["images"]), embeds, placed, self.attachment)
            encoded = replace(
                encoded,
                tokens=self.attachment.with_given(encoded.tokens, {**call, "prompts": [i.prompt for i in placed]}),
            )
            layout = self.adapter.layout_of(encoded, [image.prompt for image in placed])
            selection = self.attachment.prune(
                encoded.tokens, layout, encode_ms=encode_ms, separators=encoded.separators and encoded.separators_kept
            )
            own, embeds = in_place(selection), embeds.clone()
            if not own and self.attachment.pruner.parts["positions"].gapped:
                raise AttachError(
                    "`positions` goes by each token's own place, and here some have none: the merger adds rows, or "
                    "`order` is not raster; leave `positions` out, which numbers what remains"
                )
            for number, image in enumerate(placed):
                flags = encoded.rows_kept(number, selection.mask[number])
                rows = rows_for(encoded, selection, number, flags)
                stay = encoded.places_kept(number, flags, len(rows), own)
                keep[image.prompt, image.positions] = stay
                embeds[image.prompt, image.positions[stay]] = rows
        return self.shorten((*spliced[:4], embeds, spliced[5]), real, keep, self.truncated(keep, placed))

    def shorten(self, spliced: tuple[Any, ...], real: Tensor, keep: Tensor, stay: Tensor) -> tuple[Any, ...]:
        """What the splicing method returned, along the positions that stay.

        Args:
            spliced: What it returned.
            real: (B, L) bool: False for padding.
            keep: (B, L) bool: without dropped tokens.
            stay: (B, L) bool: without what is beyond the model's limit, too.
        """
        none, positions, mask, cache, embeds, labels = spliced
        short = shortened(stay, right=getattr(self.model.config, "tokenizer_padding_side", "right") != "left")
        policy = self.attachment.pruner.parts["positions"]
        numbered = policy.position_ids((real.cumsum(1) - 1).masked_fill(~real, 0), short.index, short.kept)
        ragged = bool((real & ~keep).any()) and not bool(short.kept.all())
        if mask is not None or numbered is not None or ragged:  # gaps without a mask look like packed prompts
            mask = short.take(real.long() if mask is None else mask, 0)
        if numbered is not None:
            positions = numbered
        elif positions is not None:
            positions = (short.kept.cumsum(1) - 1).masked_fill(~short.kept, 0).to(positions)
        if labels is not None:  # nothing predicts the first token, even where it comes to stand behind padding
            labels = short.take(labels, -100).masked_fill(short.index == 0, -100)
        index, kept = short.index[..., None].expand(-1, -1, embeds.shape[2]), short.kept[..., None]
        self.attachment.positions = short.index.masked_fill(~short.kept, -1)
        self.attachment.prompt_length = real.shape[1]
        return none, positions, mask, cache, embeds.gather(1, index).masked_fill(~kept, 0), labels

    def check(self, call: Mapping[str, Any]) -> None:
        """Refuse calls whose images are not those of the prompts, and those that go on from a cache."""
        ids, mask = call["input_ids"], call.get("attention_mask")
        places = ((ids == PLACEHOLDER) if mask is None else (ids == PLACEHOLDER) & mask.bool()).sum(1).tolist()
        wanted, given = sum(max(count, 1) for count in places), len(tiles_of(call["images"]))
        if wanted != given:
            raise AttachError(
                f"{given} images were given, and the prompts take {wanted}: they hold {places} placeholders (id "
                f"{PLACEHOLDER}) each, and a prompt without one takes one image that nobody looks at, as LLaVA's do"
            )
        cache = call.get("past_key_values")
        if cache is not None and (cache.get_seq_length() if hasattr(cache, "get_seq_length") else len(cache)):
            raise AttachError(
                "past_key_values with new images: the cached prompt's length is not that of its ids once images are "
                "pruned; pass the whole conversation without a cache"
            )

    def truncated(self, keep: Tensor, placed: Sequence[Placed]) -> Tensor:
        """(B, L) what stays once prompts are cut at the model's limit, which pruned ones may no longer reach."""
        limit = getattr(self.model.config, "tokenizer_model_max_length", None)
        if limit is None:
            return keep
        over = keep & (keep.cumsum(1) > limit)
        for image in placed:
            cut = int(over[image.prompt, image.positions].sum())
            if cut:
                raise AttachError(
                    f"prompt {image.prompt} has {int(keep[image.prompt].sum())} positions after pruning, and "
                    f"config.tokenizer_model_max_length = {limit} would cut {cut} kept tokens of image {image.image}; "
                    f"keep fewer, shorten the text, or raise the limit"
                )
        stays: Tensor = keep & ~over
        return stays


def check_rows(embeds: Tensor, placed: Sequence[Placed], features: Tensor) -> None:
    """Refuse models that do more to image features than to move them: their rows would not be who they seem."""
    rows = features.flatten(0, 1)
    for image in placed:
        own, held = image.source >= 0, embeds[image.prompt, image.positions]
        number = (image.start + image.source[own]).clamp(max=len(rows) - 1)
        newline = held[~own]
        if not _same(held[own], rows[number]) or not _same(newline, newline[:1].expand_as(newline)):
            raise AttachError(f"image {image.image}: {_CHANGED}")


def _same(one: Tensor, other: Tensor) -> bool:
    import torch

    return torch.allclose(one, other.to(one), rtol=0, atol=0, equal_nan=True)


def shortened(keep: Tensor, *, right: bool) -> Shortened:
    """Which positions remain, in their old order; shorter rows are filled up on the right or on the left.

    Args:
        keep: (B, L) bool.
        right: Whether padding comes after the prompt.
    """
    import torch

    from scope_adapters.hosts.sequence import Shortened

    length = int(keep.sum(1).max())
    order = torch.argsort((~keep if right else keep).int(), dim=1, stable=True)
    index = order[:, :length] if right else order[:, order.shape[1] - length :]
    return Shortened(index, keep.gather(1, index), ~keep)

"""The host of the original LLaVA codebase: ``prepare_inputs_labels_for_multimodal`` splices images into embeddings.

That method of one instance is wrapped. A first pass of splicing runs under a probe; a second one traces the origin of
every position: see `scope_adapters.hosts.splicing`.
"""

from __future__ import annotations

import inspect
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from scope_adapters.compat.caches import cached_length
from scope_adapters.hosts.huggingface.image_rows import Encoded, in_place, rows_for
from scope_adapters.hosts.huggingface.prompt import Shortened
from scope_adapters.hosts.methods import Method, unwrap
from scope_adapters.hosts.splicing import (
    PLACEHOLDER,
    PREPARE,
    Placed,
    check_no_cache,
    check_rows,
    check_step,
    copied,
    repacked,
    splice,
    tiles_of,
    trace,
)
from scope_core import AttachError, Layout
from scope_core.adapters import ModelAdapter, Session, replace_attribute
from scope_core.parts import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


class OriginalLlavaAdapter(ModelAdapter[S]):
    """The part that all models with ``prepare_inputs_labels_for_multimodal`` share."""

    @abstractmethod
    def watch(self, model: Any, attachment: Session) -> AbstractContextManager[dict[str, Any]]:
        """The record of one pass of tower and projector, for `encode`."""

    @abstractmethod
    def encode(
        self,
        seen: Mapping[str, Any],
        tiles: Sequence[int],
        embeds: Tensor,
        placed: Sequence[Placed],
        repack: Callable[[Tensor], Tensor],
        attachment: Session,
    ) -> Encoded:
        """Candidates and rows of the images that reached a prompt, in order.

        Args:
            seen: Record of `watch`.
            tiles: Number of tiles of each image of the call.
            embeds: (B, L, D) the spliced prompts.
            placed: Places of the images in them.
            repack: (T, n, C) values of patches -> (B, L, C), as the model's own packing places and merges them.
            attachment: The session of the attached pruner.
        """

    @abstractmethod
    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles and prompts of the encoded images."""

    def unwrapped(self, model: Any) -> Any:
        """The model inside ``torch.compile`` and PEFT-style wrappers."""
        return unwrap(model)

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Wrap the splicing method, and ``generate`` for its limits on lengths."""
        inner = unwrap(model)
        call = _Call(self, inner, attachment)
        for name, change in ((PREPARE, call.prepare), ("generate", call.generate)):
            replace_attribute(inner, name, Method(getattr(inner, name), change, attachment), undo)


class _Call:
    """The wrapped calls of one attached model."""

    def __init__(self, adapter: OriginalLlavaAdapter[Any], model: Any, attachment: Session) -> None:
        self.adapter, self.model, self.attachment = adapter, model, attachment
        self.lock = threading.Lock()  # modules are shared, so one call at a time is recorded
        self.thread = threading.local()  # state of the `generate` that runs in this thread

    def generate(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """``generate`` of the model, on copies of the ids, which models may write to.

        Raises:
            AttachError: a limit counts the prompt, which gets shorter.
        """
        images = kwargs.get("images", inspect.signature(inner).bind(*args, **kwargs).arguments.get("images"))
        config = kwargs.get("generation_config")
        for name, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            limit, instead = (kwargs.get(key) or getattr(config, key, None) for key in (name, new))
            if kwargs.get(name) is None and config is not None and limit == getattr(type(config)(), name, None):
                continue  # the default of every config, up to transformers 4.x
            if images is not None and limit and not instead:
                raise AttachError(f"{name} counts the prompt, which pruning shortens; give {new} to generate() instead")
        check_no_cache(kwargs, config)
        if args:
            args = (copied({"inputs": args[0]})["inputs"], *args[1:])
        ids = {name: copied({name: kwargs[name]})[name] for name in ("inputs", "input_ids") if name in kwargs}
        self.thread.generating, self.thread.mask = True, None
        try:
            return inner(*args, **(kwargs | ids))
        finally:
            self.thread.generating = False

    def prepare(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The splicing method, followed by selection and removal of positions; calls without images pass."""
        try:
            call = dict(inspect.signature(inner).bind(*args, **kwargs).arguments)
        except TypeError:  # an error of the model's code, as in LLaVA's MPT variant: let it raise
            return inner(*args, **kwargs)
        if call.get("images") is None or call["input_ids"].shape[1] == 1:
            if not getattr(self.thread, "generating", False) and self.attachment.positions is not None:
                check_step(call, gapped=self.attachment.pruner.parts["positions"].gapped)
            return self.check_next(inner(**call)) if call.get("images") is not None else inner(**call)
        self.check(call)
        features: list[Tensor] = []

        def encode_images(images: Any) -> Tensor:
            features.append(self.model.encode_images(images))
            return features[-1]

        copies = copied(call)
        with self.lock:
            start = time.perf_counter()
            with self.adapter.watch(self.model, self.attachment) as seen:
                spliced = splice(self.model, copies, encode_images)
            encode_ms = (time.perf_counter() - start) * 1e3
        embeds = spliced[4]
        real, placed = trace(self.model, call, features[-1])
        if real.shape != embeds.shape[:2]:
            raise AttachError(
                f"{type(self.model).__name__}.{PREPARE} returned prompts of {tuple(embeds.shape[:2])} and then, for "
                f"the same call, of {tuple(real.shape)}; it has to be deterministic. See docs/write-an-adapter.md"
            )
        check_rows(embeds, placed, features[-1])
        keep = real.clone()
        if placed:
            embeds = self.select(seen, call, embeds, placed, keep, encode_ms)
        if getattr(self.thread, "generating", False):  # the rest of `generate` needs what the model wrote into the ids
            call["input_ids"].copy_(copies["input_ids"])
        return self.shorten((*spliced[:4], embeds, spliced[5]), real, keep, self.truncated(keep, placed))

    def select(
        self,
        seen: Mapping[str, Any],
        call: Mapping[str, Any],
        embeds: Tensor,
        placed: Sequence[Placed],
        keep: Tensor,
        encode_ms: float,
    ) -> Tensor:
        """(B, L, D) embeddings with the kept rows; dropped positions become False in ``keep``."""

        def repack(values: Tensor) -> Tensor:
            return repacked(self.model, call, values, embeds.shape[-1])

        encoded = self.adapter.encode(seen, tiles_of(call["images"]), embeds, placed, repack, self.attachment)
        given = {**call, "prompts": [image.prompt for image in placed]}
        encoded = replace(encoded, tokens=self.attachment.with_given(encoded.tokens, given))
        layout = self.adapter.layout_of(encoded, [image.prompt for image in placed])
        selection = self.attachment.prune(
            encoded.tokens, layout, encode_ms=encode_ms, separators=encoded.separators and encoded.separators_kept
        )
        same_place, embeds = in_place(selection), embeds.clone()
        if not same_place and self.attachment.pruner.parts["positions"].gapped:
            raise AttachError(
                "`positions` needs a place for each token, but some tokens have none: the merger adds rows, or `order` "
                "is not raster; omit `positions` to number the remaining tokens"
            )
        for number, image in enumerate(placed):
            flags = encoded.rows_kept(number, selection.mask[number])
            rows = rows_for(encoded, selection, number, flags)
            stay = encoded.places_kept(number, flags, len(rows), same_place)
            keep[image.prompt, image.positions] = stay
            embeds[image.prompt, image.positions[stay]] = rows
        return embeds

    def check_next(self, result: tuple[Any, ...]) -> tuple[Any, ...]:
        """Refuse steps of `generate` that use the mask of the ids if it differs from that of the pruned prompts."""
        mask, before = result[2], getattr(self.thread, "mask", None)
        if (
            not getattr(self.thread, "generating", False)
            or mask is None
            or before is None
            or len(mask) != len(before)
            or mask.shape[1] < before.shape[1]
        ):
            return result
        if not torch.equal(mask[:, : before.shape[1]].bool(), before.bool()):
            raise AttachError(
                f"{type(self.model).__name__}.generate continues from the mask of the prompts' ids, but these prompts "
                f"differ in length once images are pruned; generate for one prompt at a time, or for prompts with "
                f"the same number of images and of kept tokens"
            )
        return result

    def shorten(self, spliced: tuple[Any, ...], real: Tensor, keep: Tensor, stay: Tensor) -> tuple[Any, ...]:
        """The result of the splicing method, for the positions that stay.

        Args:
            spliced: The result for all positions.
            real: (B, L) bool: False for padding.
            keep: (B, L) bool: False also for dropped tokens.
            stay: (B, L) bool: False also beyond the model's limit.
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
        if labels is not None:  # the first token is not predicted, even after padding
            labels = short.take(labels, -100).masked_fill(short.index == 0, -100)
        index, kept = short.index[..., None].expand(-1, -1, embeds.shape[2]), short.kept[..., None]
        self.attachment.positions = short.index.masked_fill(~short.kept, -1)
        self.attachment.prompt_length = real.shape[1]
        self.thread.mask = short.kept & short.take(real.long(), 0).bool()
        return none, positions, mask, cache, embeds.gather(1, index).masked_fill(~kept, 0), labels

    def check(self, call: Mapping[str, Any]) -> None:
        """Refuse videos, images that do not match the prompts, and calls that continue from a cache."""
        if "video" in (modalities := call.get("modalities") or ()):
            raise AttachError(
                f"modalities = {modalities!r}: frames of a video are pooled between encode_images and the prompt, and "
                f"are not pruned; detach for videos. See docs/embed.md, 'The original LLaVA codebase'"
            )
        ids, mask = call["input_ids"], call.get("attention_mask")
        places = ((ids == PLACEHOLDER) if mask is None else (ids == PLACEHOLDER) & mask.bool()).sum(1).tolist()
        wanted, given = sum(max(count, 1) for count in places), len(tiles_of(call["images"]))
        if wanted != given:
            raise AttachError(
                f"{given} images were given, but the prompts take {wanted}: they hold {places} placeholders (id "
                f"{PLACEHOLDER}) each, and in LLaVA a prompt without one takes one image, which is not used"
            )
        if cached_length(call.get("past_key_values")):
            raise AttachError(
                "past_key_values with new images: the cached prompt's length is not that of its ids once images are "
                "pruned; pass the whole conversation without a cache"
            )

    def truncated(self, keep: Tensor, placed: Sequence[Placed]) -> Tensor:
        """(B, L) bool: the positions that stay once prompts are cut at the model's limit.

        Raises:
            AttachError: the limit would cut kept tokens.
        """
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


def shortened(keep: Tensor, *, right: bool) -> Shortened:
    """The positions that remain, in their old order.

    Args:
        keep: (B, L) bool.
        right: True if padding comes after the prompt.
    """
    length = int(keep.sum(1).max())
    order = torch.argsort((~keep if right else keep).int(), dim=1, stable=True)
    index = order[:, :length] if right else order[:, order.shape[1] - length :]
    return Shortened(index, keep.gather(1, index), ~keep)

"""The original LLaVA codebase's host: ``prepare_inputs_labels_for_multimodal`` splices images into embeddings.

That method of one instance is wrapped. The first pass of splicing runs as it is, under a probe; the second one tells
where every position came from: see `scope_adapters.hosts.splicing`.
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

from scope_adapters.hosts.huggingface.image_rows import Encoded, in_place, rows_for
from scope_adapters.hosts.huggingface.prompt import Shortened
from scope_adapters.hosts.methods import Method, check_free, unwrap
from scope_adapters.hosts.splicing import (
    PLACEHOLDER,
    PREPARE,
    Placed,
    check_rows,
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
    """The sequence side of models that splice images by ``prepare_inputs_labels_for_multimodal``."""

    @abstractmethod
    def watch(self, model: Any, attachment: Session) -> AbstractContextManager[dict[str, Any]]:
        """Watch one pass of tower and projector; what was seen is for `encode`."""

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
            seen: From `watch`.
            tiles: Pictures of each image of the call.
            embeds: (B, L, D) the spliced prompts.
            placed: Where the images are in them.
            repack: (T, n, C) values of patches -> (B, L, C), as the model's own packing places and mixes them.
            attachment: Whose signals and interception point count.
        """

    @abstractmethod
    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles and prompts of the encoded images."""

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Wrap the splicing method, and ``generate`` for its limits on lengths."""
        inner = unwrap(model)
        check_free(inner, PREPARE)
        call = _Call(self, inner, attachment)
        for name, change in ((PREPARE, call.prepare), ("generate", call.generate)):
            replace_attribute(inner, name, Method(getattr(inner, name), change, attachment), undo)


class _Call:
    """The wrapped calls of one attached model."""

    def __init__(self, adapter: OriginalLlavaAdapter[Any], model: Any, attachment: Session) -> None:
        self.adapter, self.model, self.attachment = adapter, model, attachment
        self.lock = threading.Lock()  # hooks sit on shared modules: one capture at a time
        self.here = threading.local()  # what belongs to the `generate` that runs in this thread

    def generate(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Refuse limits that count a prompt which is about to get shorter; ids are a copy, which hosts may write to."""
        images = kwargs.get("images", inspect.signature(inner).bind(*args, **kwargs).arguments.get("images"))
        config = kwargs.get("generation_config")
        for name, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            limit, instead = (kwargs.get(key) or getattr(config, key, None) for key in (name, new))
            if kwargs.get(name) is None and config is not None and limit == getattr(type(config)(), name, None):
                continue  # what every config says that says nothing of it, up to transformers 4.x
            if images is not None and limit and not instead:
                raise AttachError(f"{name} counts the prompt, which pruning shortens; give {new} to generate() instead")
        if args:
            args = (copied({"inputs": args[0]})["inputs"], *args[1:])
        own = {name: copied({name: kwargs[name]})[name] for name in ("inputs", "input_ids") if name in kwargs}
        self.here.generating, self.here.mask = True, None
        try:
            return inner(*args, **(kwargs | own))
        finally:
            self.here.generating = False

    def prepare(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Splice, select, and drop the positions that go; calls without images pass."""
        try:
            call = dict(inspect.signature(inner).bind(*args, **kwargs).arguments)
        except TypeError:  # the host's own mistake, as in LLaVA's MPT variant; its own words say it best
            return inner(*args, **kwargs)
        if call.get("images") is None:
            return inner(**call)
        if call["input_ids"].shape[1] == 1:
            return self.check_next(inner(**call))
        self.check(call)
        features: list[Tensor] = []

        def encode_images(pictures: Any) -> Tensor:
            features.append(self.model.encode_images(pictures))
            return features[-1]

        own = copied(call)
        with self.lock:
            start = time.perf_counter()
            with self.adapter.watch(self.model, self.attachment) as seen:
                spliced = splice(self.model, own, encode_images)
            encode_ms = (time.perf_counter() - start) * 1e3
        embeds = spliced[4]
        real, placed = trace(self.model, call, features[-1])
        if real.shape != embeds.shape[:2]:
            raise AttachError(
                f"{type(self.model).__name__}.{PREPARE} gave prompts of {tuple(embeds.shape[:2])} and then, for the "
                f"same call, of {tuple(real.shape)}; it has to do the same twice. See docs/write-an-adapter.md"
            )
        check_rows(embeds, placed, features[-1])
        keep = real.clone()
        if placed:
            embeds = self.select(seen, call, embeds, placed, keep, encode_ms)
        if getattr(self.here, "generating", False):  # what the host wrote into the ids is for the rest of `generate`
            call["input_ids"].copy_(own["input_ids"])
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
        """(B, L, D) embeddings with the rows of what is kept; ``keep`` is changed to what stays."""

        def repack(values: Tensor) -> Tensor:
            return repacked(self.model, call, values, embeds.shape[-1])

        encoded = self.adapter.encode(seen, tiles_of(call["images"]), embeds, placed, repack, self.attachment)
        given = {**call, "prompts": [image.prompt for image in placed]}
        encoded = replace(encoded, tokens=self.attachment.with_given(encoded.tokens, given))
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
        return embeds

    def check_next(self, result: tuple[Any, ...]) -> tuple[Any, ...]:
        """Refuse steps of `generate` that attend by the mask of the ids where that is not the pruned prompt's."""
        mask, before = result[2], getattr(self.here, "mask", None)
        if (
            not getattr(self.here, "generating", False)
            or mask is None
            or before is None
            or len(mask) != len(before)
            or mask.shape[1] < before.shape[1]
        ):
            return result
        if not torch.equal(mask[:, : before.shape[1]].bool(), before.bool()):
            raise AttachError(
                f"{type(self.model).__name__}.generate goes on from the mask of the prompts' ids, and these prompts "
                f"have different lengths once images are pruned; generate for one prompt at a time, or for prompts "
                f"with as many images and one count of kept tokens for all"
            )
        return result

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
        self.here.mask = short.kept & short.take(real.long(), 0).bool()
        return none, positions, mask, cache, embeds.gather(1, index).masked_fill(~kept, 0), labels

    def check(self, call: Mapping[str, Any]) -> None:
        """Refuse videos, calls whose images are not those of the prompts, and those that go on from a cache."""
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


def shortened(keep: Tensor, *, right: bool) -> Shortened:
    """Which positions remain, in their old order; shorter rows are filled up on the right or on the left.

    Args:
        keep: (B, L) bool.
        right: Whether padding comes after the prompt.
    """
    length = int(keep.sum(1).max())
    order = torch.argsort((~keep if right else keep).int(), dim=1, stable=True)
    index = order[:, :length] if right else order[:, order.shape[1] - length :]
    return Shortened(index, keep.gather(1, index), ~keep)

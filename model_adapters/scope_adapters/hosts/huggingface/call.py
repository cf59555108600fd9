"""The wrapped calls of a Hugging Face model: what passes, what is refused, and what is pruned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import CACHE_NAMES, cache_name, cache_of, cached_length
from scope_adapters.compat.signatures import named
from scope_adapters.compat.transformers import base_of, counts_on, takes_encoder_outputs
from scope_adapters.hosts.huggingface.arguments import PRE_ENCODED, along_prompt, check_shapes
from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.embeddings import EmbeddedPrompt, following
from scope_adapters.hosts.huggingface.generation import Rewritten, arguments, inferred_mask, result, setting
from scope_adapters.hosts.huggingface.image_rows import Encoded, in_place, rows_for
from scope_adapters.hosts.huggingface.in_decoder import Inside, everything
from scope_adapters.hosts.huggingface.prompt import FILLS, Shortened, compact_positions, owners, shorten
from scope_adapters.hosts.huggingface.text import text_embeddings
from scope_core import AttachError, Layout, Selection
from scope_core.adapters import Session

_generating: ContextVar[bool] = ContextVar("scope_generating", default=False)
"""True inside a wrapped generate, whose own forward calls bring features that were pruned already."""


@contextmanager
def generating() -> Iterator[None]:
    """Calls of ``forward`` inside bring what was pruned already."""
    token = _generating.set(True)
    try:
        yield
    finally:
        _generating.reset(token)


class Call:
    """The wrapped calls of one attached model."""

    def __init__(
        self, adapter: HuggingFaceModel[Any], model: Any, attachment: Session, inside: Inside | None = None
    ) -> None:
        self.adapter, self.model, self.attachment, self.inside = adapter, model, attachment, inside
        self.placeholder = attachment.declaration.placeholder
        self.cache = cache_name(type(model).forward) or CACHE_NAMES[0]
        self.embeds = not takes_encoder_outputs(model)
        self.entered = 0  # positions that the latest call's prompts had when they entered the language model
        self.lock = threading.Lock()  # hooks sit on shared modules: one capture at a time

    def forward(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """``forward``: calls with images are pruned, all others pass."""
        kwargs = {**named(type(self.model).forward, args), **kwargs}
        self.check_inputs(kwargs)
        if kwargs.get(self.adapter.image_inputs[0]) is not None:
            rewritten = self.rewrite(kwargs)
            with rewritten.entering():
                return inner(**rewritten.kwargs)
        if not _generating.get():
            self.check_text_only(kwargs.get("input_ids"), kwargs)
            self.check_continuation(kwargs)
        return inner(**kwargs)

    def generate(
        self,
        model_generate: Callable[..., Any],
        /,
        inputs: Tensor | None = None,
        generation_config: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """``generate``: the whole loop runs on the shortened prompt; the caller gets the full one back."""
        if args:
            raise AttachError(
                "generate() of a pruned model takes keyword arguments beyond inputs and generation_config"
            )
        self.check_inputs(kwargs)
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        if kwargs.get(self.adapter.image_inputs[0]) is None:
            self.check_text_only(ids, kwargs)
            return model_generate(inputs, generation_config, **kwargs)
        if kwargs.get("assistant_model") is not None:
            raise AttachError(
                "assisted generation would need the assistant's prompt pruned too; leave assistant_model out"
            )
        default = self.model.generation_config
        if self.embeds and setting("prefill_chunk_size", kwargs, generation_config, default):
            raise AttachError(
                f"prefill_chunk_size: {type(self.model).__name__} of the installed transformers takes images with "
                f"whole prompts only; leave it out"
            )
        self.check_gaps(kwargs, generation_config, default)
        if ids is not None and kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = inferred_mask(ids, kwargs, generation_config, default)
        with torch.no_grad():
            rewritten = self.rewrite({**kwargs, "input_ids": ids})
        with generating(), rewritten.entering():
            output = model_generate(**arguments(rewritten, generation_config, self.model))
        return result(output, rewritten)

    def check_inputs(self, kwargs: Mapping[str, Any]) -> None:
        """Refuse videos, and a cache under a name that this model would pass over in silence."""
        newer = [name for name in CACHE_NAMES[: CACHE_NAMES.index(self.cache)] if kwargs.get(name) is not None]
        if newer:
            raise AttachError(
                f"{newer[0]} was given, and {type(self.model).__name__} of the installed transformers calls its cache "
                f"{self.cache}: pass {self.cache}=..."
            )
        given = [name for name in self.adapter.refused_inputs if kwargs.get(name) is not None]
        if given:
            raise AttachError(
                f"{', '.join(given)} was given, and adapter '{self.adapter.spec.name}' prunes images only: "
                f"{', '.join(self.adapter.image_inputs)}; leave it out, give its frames "
                f"as images, or detach the pruner first"
            )

    def check_text_only(self, ids: Tensor | None, kwargs: Mapping[str, Any]) -> None:
        """Refuse calls without pixels that go on from, or around, what was pruned."""
        if kwargs.get("mm_encoder_outputs"):
            raise AttachError(PRE_ENCODED)
        has_places = ids is not None and self.placeholder is not None and bool((ids == self.placeholder).any())
        if has_places and cached_length(cache_of(kwargs)):
            raise AttachError(
                f"these ids hold image placeholders and {self.cache} holds a cached prompt: if that prompt was pruned, "
                f"lengths no longer agree; pass the whole conversation with its images and without a cache"
            )

    def check_gaps(self, kwargs: Mapping[str, Any], *configs: Any) -> None:
        """Refuse positions with gaps where generate runs without a cache: it drops an all-ones mask then."""
        if self.inside is not None:
            self.inside.check(kwargs, *configs)
        policy = self.attachment.pruner.parts["positions"]
        if self.inside is not None and self.inside.alone:  # what enters the language model has no gaps
            return
        given = [kwargs.get("use_cache"), *(getattr(config, "use_cache", None) for config in configs)]
        if policy.gapped and next((value for value in given if value is not None), True) is False:
            raise AttachError(
                f"position {policy} leaves gaps, and generate with use_cache=False would take each gap for the start "
                f"of another sequence; use the cache, or leave `positions` out"
            )

    def check_rearranged(self) -> None:
        """Refuse rows in other places than their own where the model keeps more about each token than its row."""
        if self.adapter.has_token_fields:
            raise AttachError(
                f"{type(self.model).__name__} keeps further features of each token, so rows can neither be added by a "
                f"merger nor leave raster order; choose another merger, and leave `order` out"
            )

    def check_continuation(self, kwargs: Mapping[str, Any]) -> None:
        """Refuse a step after a pruned prompt whose mask pads along the full one: it would mask other tokens."""
        ids, positions = kwargs.get("input_ids"), self.attachment.positions
        mask: Any = kwargs.get("attention_mask")
        if ids is None or positions is None or getattr(mask, "ndim", 0) != 2:
            return
        cached = cached_length(cache_of(kwargs))
        entered = self.entered or positions.shape[1]
        removed = self.attachment.prompt_length - entered
        if cached and removed and mask.shape[1] == cached + ids.shape[1] + removed and not bool(mask.all()):
            raise AttachError(
                f"attention_mask counts {mask.shape[1]} positions, but the cached prompt was pruned to "
                f"{entered} of {self.attachment.prompt_length}; continue with `pruning.shorten(mask)` in "
                f"place of the prompt's mask"
            )

    def padding(self) -> int:
        """The id that fills up shorter prompts; the outer config's can lie beyond the table."""
        return max(int(getattr(self.model.config.get_text_config(), "pad_token_id", None) or 0), 0)

    def rewrite(self, kwargs: Mapping[str, Any]) -> Rewritten:
        """Encode, select, and shorten everything that runs along the prompt."""
        if self.inside is not None:
            self.inside.check(kwargs)
        encoded, layout, encode_ms = self.encode(kwargs)
        if self.inside is not None and self.inside.alone:
            self.attachment.pruner.plan(layout)  # a budget that cannot be met is told before the language model runs
            selection = everything(encoded.tokens)
        else:
            selection = self.attachment.prune(
                encoded.tokens, layout, encode_ms=encode_ms, separators=encoded.separators and encoded.separators_kept
            )
        made = self.splice(kwargs, [(encoded, selection)])
        if self.inside is None:
            return made
        return replace(made, run=self.inside.run(made, encoded, selection, layout, int(self.placeholder or 0)))

    def encode(self, kwargs: Mapping[str, Any]) -> tuple[Encoded, Layout, float]:
        """The call's images after tower and projector, their tiles and prompts, and the milliseconds it took."""
        ids, placeholder = kwargs.get("input_ids"), self.placeholder
        if ids is None or placeholder is None:
            raise AttachError(
                "images can be pruned only together with input_ids (inputs_embeds hides the placeholders)"
            )
        if kwargs.get("inputs_embeds") is not None or kwargs.get("mm_encoder_outputs"):
            raise AttachError(PRE_ENCODED)
        if cached_length(cache_of(kwargs)):
            raise AttachError(
                f"{self.cache} with new images: the cached prompt's length is not that of its ids once images are "
                f"pruned; pass the whole conversation without a cache"
            )
        check_shapes(along_prompt(kwargs), ids, self.adapter.position_axes)
        images = {name: kwargs[name] for name in self.adapter.image_inputs if kwargs.get(name) is not None}
        with self.lock:
            start = time.perf_counter()
            encoded = self.adapter.encode(self.model, images, ids, self.attachment)
            encode_ms = (time.perf_counter() - start) * 1e3
        prompts = owners(ids, placeholder, encoded.placeholders or [len(row) for row in encoded.rows])
        tokens = encoded.tokens
        if "text.embeddings" in self.attachment.needs:
            words = partial(text_embeddings, self.model, ids, kwargs.get("attention_mask"), placeholder, prompts)
            tokens = replace(tokens, signals=tokens.signals.beside({"text.embeddings": words}))
        encoded = replace(encoded, tokens=self.attachment.with_given(tokens, {**kwargs, "prompts": prompts}))
        return encoded, self.adapter.layout_of(encoded, prompts), encode_ms

    def splice(self, kwargs: Mapping[str, Any], parts: Sequence[tuple[Encoded, Selection]]) -> Rewritten:
        """The call with only what was kept of its images.

        Args:
            kwargs: The caller's call.
            parts: Images and what is kept of them, in placeholder order.
        """
        ids: Tensor = kwargs["input_ids"]
        along = along_prompt(kwargs)
        mask = along.pop("attention_mask", None)
        rows: list[Tensor] = []
        flags: list[Tensor] = []
        places: list[Tensor] = []
        for encoded, selection in parts:
            mine = [encoded.rows_kept(image, kept) for image, kept in enumerate(selection.mask)]
            read = [rows_for(encoded, selection, image, flag) for image, flag in enumerate(mine)]
            own = in_place(selection)
            flags += mine
            rows += read
            places += [encoded.places_kept(i, flag, len(read[i]), own) for i, flag in enumerate(mine)]
        first = parts[0][0]
        if not all(in_place(selection) for _, selection in parts):
            self.check_rearranged()
        output = self.adapter.with_rows(first, rows, flags)
        short = shorten(ids, mask, int(self.placeholder or 0), torch.cat(places))
        spent = set(self.adapter.image_inputs) - (set() if self.embeds else set(self.adapter.lasting_inputs))
        made = {name: value for name, value in kwargs.items() if name not in spent}
        made["input_ids"] = short.take(ids, 0 if short.plain else self.padding())
        if mask is not None or not (short.plain or bool(short.kept.all())):
            made["attention_mask"] = short.take(torch.ones_like(ids) if mask is None else mask, 0)
        full = along.pop("position_ids", None)
        made.update({name: short.take(tensor, FILLS[name]) for name, tensor in along.items()})
        if "labels" in along:  # nothing predicts the first token, even where it comes to stand behind padding
            made["labels"] = made["labels"].masked_fill(short.index.to(made["labels"].device) == 0, FILLS["labels"])
        full = None if full is None or full.dim() == 3 else full.expand_as(ids)  # the adapter shortens several axes
        policy = self.attachment.pruner.parts["positions"]
        numbered = full
        if numbered is None:  # as generate would number the full prompt
            real = torch.ones_like(ids) if mask is None else mask.to(ids.device).long()
            numbered = real.cumsum(1).sub_(1).clamp_(min=0)
        before = self.state()
        positions = self.adapter.positions(self.model, kwargs, short)
        if positions is None and not (self.inside is not None and self.inside.alone):
            positions = policy.position_ids(numbered, short.index, short.kept)
            moved = first.placeholders is not None or not all(in_place(selection) for _, selection in parts)
            if positions is not None and moved:
                raise AttachError(
                    f"position {policy} goes by each token's own placeholder, and here some have none: adapter "
                    f"'{self.adapter.spec.name}' is set to a layout without, the merger adds rows, or `order` is not "
                    f"raster; leave `positions` out, which numbers what remains"
                )
        if positions is not None:
            made["position_ids"] = positions
            if policy.gapped and made.get("attention_mask") is None:
                made["attention_mask"] = torch.ones_like(made["input_ids"])
        elif full is not None:
            made["position_ids"] = compact_positions(full, short)
        prompt = None
        if self.embeds:
            state = {name: value for name, value in self.state().items() if value is not before[name]}
            prompt = self.embedded(made, short, output, state)
        else:
            made["mm_encoder_outputs"] = {"image": output}
        self.attachment.positions = short.index if short.plain else short.index.masked_fill(~short.kept, -1)
        self.attachment.prompt_length, self.entered = ids.shape[1], short.index.shape[1]
        return Rewritten(made, ids, short, embedded=prompt)

    def state(self) -> dict[str, Any]:
        """What earlier calls, or this one, left on the base model."""
        return {name: getattr(base_of(self.model), name) for name in self.adapter.state}

    def embedded(self, made: dict[str, Any], short: Shortened, output: Any, state: Mapping[str, Any]) -> EmbeddedPrompt:
        """The shortened prompts as embeddings; takes position ids out of ``made``, which would not be counted on."""
        layers = output.get("deepstack_features") or ()
        positions, mask = made.pop("position_ids", None), made.get("attention_mask")
        real = short.kept if mask is None or mask.dim() != 2 else mask != 0
        after = None
        if positions is not None:
            after = positions[..., -1:] + 1 if counts_on(self.model) else following(positions, real)
        return EmbeddedPrompt.of(
            made["input_ids"],
            short.kept,
            int(self.placeholder or 0),
            torch.cat(output.pooler_output),
            positions=positions,
            after=after,
            layers=tuple(torch.cat(layer) for layer in layers),
            state=state,
        )

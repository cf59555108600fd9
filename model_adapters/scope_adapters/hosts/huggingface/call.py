"""The wrapped calls of a Hugging Face model: ``forward`` and ``generate``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import CACHE_NAMES, cache_name, cache_of, cached_length
from scope_adapters.compat.signatures import named
from scope_adapters.compat.transformers import base_of, takes_encoder_outputs
from scope_adapters.hosts.huggingface.arguments import PRE_ENCODED, along_prompt, check_along, for_shortened, renamed
from scope_adapters.hosts.huggingface.attention_bias import prompt_bias
from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.cached_prompt import CachedPrompt
from scope_adapters.hosts.huggingface.continued import Continuation, check_caches, known_ids
from scope_adapters.hosts.huggingface.embeddings import entered, following
from scope_adapters.hosts.huggingface.generation import Rewritten, generated, inferred_mask, setting
from scope_adapters.hosts.huggingface.image_rows import Encoded, in_place, own_places, rows_for
from scope_adapters.hosts.huggingface.in_decoder import Inside, everything
from scope_adapters.hosts.huggingface.items import Items
from scope_adapters.hosts.huggingface.prompt import FILLS, compact_positions, owners, shorten
from scope_adapters.hosts.huggingface.refusals import check_gaps, check_inputs, check_options, check_text_only
from scope_adapters.hosts.huggingface.text import text_embeddings
from scope_adapters.hosts.huggingface.unpruned import tell_unpruned
from scope_adapters.hosts.methods import is_within, within
from scope_core import AttachError, Layout, Selection
from scope_core.adapters import Session


class Call:
    """The wrapped calls of one attached model."""

    def __init__(
        self, adapter: HuggingFaceModel[Any], model: Any, attachment: Session, inside: Inside | None = None
    ) -> None:
        self.adapter, self.model, self.attachment, self.inside = adapter, model, attachment, inside
        self.placeholder = attachment.declaration.placeholder
        self.items = Items(adapter, model, self.placeholder)
        self.cache = cache_name(type(model).forward) or CACHE_NAMES[0]
        self.embeds = not takes_encoder_outputs(model)
        self.continued = Continuation(adapter, model, attachment, inside)
        self.lock = threading.Lock()  # modules are shared, so one call at a time is recorded

    @property
    def wrapped(self) -> dict[str, Callable[..., Any]]:
        """The methods of the model that are changed, and what stands in for them."""
        return {
            "forward": self.forward,
            "generate": self.generate,
            "prepare_inputs_for_generation": self.continued.prepare,
        }

    @property
    def alone(self) -> bool:
        """True if all stages are inside the language model."""
        return self.inside is not None and self.inside.alone

    def forward(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """``forward`` of the model; calls with images are pruned, all others pass."""
        kwargs = renamed({**named(type(self.model).forward, args), **kwargs}, self.adapter.former_names)
        check_inputs(self.adapter, self.model, self.cache, kwargs)
        if self.items.given(kwargs):
            rewritten = self.rewrite(kwargs)
            with within(), rewritten.entering():
                output = inner(**rewritten.kwargs)
            self.continued.remember(self.continued.prompt(rewritten, kwargs, by_mask=False), kwargs, output)
            return output
        if is_within():
            return inner(**kwargs)
        check_caches(kwargs)
        prompt = self.continued.recall(kwargs)
        if prompt is None:
            check_text_only(kwargs.get("input_ids"), kwargs, self.items.pixels.values(), self.cache)
            tell_unpruned(self.attachment, kwargs, self.items.pixels)
        else:
            kwargs = self.continued.forward(prompt, kwargs)
        with within():
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
        """``generate`` of the model, on the shortened prompt; the result has the full one."""
        if args:
            raise AttachError("generate() of a pruned model takes only inputs and generation_config without a keyword")
        kwargs = renamed(kwargs, self.adapter.former_names)
        check_inputs(self.adapter, self.model, self.cache, kwargs)
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        check_caches(kwargs, generation_config, self.model.generation_config)
        if not self.items.given(kwargs):
            prompt = self.continued.recall(kwargs)
            if prompt is not None and ids is not None:
                return self.go_on(model_generate, prompt, ids, generation_config, kwargs)
            check_text_only(ids, kwargs, self.items.pixels.values(), self.cache)
            tell_unpruned(self.attachment, {**kwargs, "input_ids": ids}, self.items.pixels)
            with within():
                return model_generate(inputs, generation_config=generation_config, **kwargs)
        default = self.model.generation_config
        check_options(self.model, kwargs, generation_config, default)
        if self.embeds and setting("prefill_chunk_size", kwargs, generation_config, default):
            raise AttachError(
                f"prefill_chunk_size: {type(self.model).__name__} of the installed transformers takes images with "
                f"whole prompts only; omit it"
            )
        if self.inside is not None:
            self.inside.check(kwargs, generation_config, default)
        if not self.alone:
            check_gaps(self.attachment.pruner.parts["positions"], kwargs, generation_config, default)
        if ids is not None and kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = inferred_mask(ids, kwargs, generation_config, default)
        with torch.no_grad():
            rewritten = self.rewrite({**kwargs, "input_ids": ids})
        prompt = self.continued.prompt(rewritten, kwargs, by_mask=True)
        self.continued.remember(prompt, kwargs)  # even if the call fails half-way
        output = generated(model_generate, rewritten, generation_config)
        self.continued.remember(known_ids(prompt, 0, rewritten.full_ids, output), kwargs, output)
        return output

    def go_on(
        self, model_generate: Callable[..., Any], prompt: CachedPrompt, ids: Tensor, config: Any, kwargs: dict[str, Any]
    ) -> Any:
        """``generate`` from the cache of a pruned prompt."""
        cached = cached_length(cache_of(kwargs))
        rewritten = self.continued.generate(prompt, kwargs, ids, self.padding(), config)
        output = generated(model_generate, rewritten, config)
        self.continued.remember(known_ids(prompt, cached, ids, output), kwargs, output)
        return output

    def padding(self) -> int:
        """The padding id, from the text config: that of the outer config may be beyond the table."""
        return max(int(getattr(self.model.config.get_text_config(), "pad_token_id", None) or 0), 0)

    def rewrite(self, kwargs: Mapping[str, Any]) -> Rewritten:
        """The call after encoding, selecting, and shortening everything that runs along the prompt."""
        if self.inside is not None:
            self.inside.check(kwargs)
        encoded, layout, encode_ms = self.encode(kwargs)
        if self.alone:
            self.attachment.pruner.plan(layout)  # fails early if a budget cannot be met
            selection = everything(encoded.tokens)
        else:
            selection = self.attachment.prune(
                encoded.tokens, layout, encode_ms=encode_ms, separators=encoded.separators and encoded.separators_kept
            )
        rewritten = self.splice(kwargs, [(encoded, selection)])
        if self.inside is None:
            return rewritten
        marked = self.items.marked(rewritten.kwargs["input_ids"], encoded.kinds)
        run = self.inside.run(rewritten, encoded, selection, layout, int(self.placeholder or 0), marked)
        return replace(rewritten, run=run)

    def encode(self, kwargs: Mapping[str, Any]) -> tuple[Encoded, Layout, float]:
        """The call's images after tower and projector, their tiles and prompts, and the time in milliseconds."""
        ids, placeholder = kwargs.get("input_ids"), self.placeholder
        if ids is None or placeholder is None:
            raise AttachError("images can be pruned only with input_ids (inputs_embeds hides the placeholders)")
        if kwargs.get("inputs_embeds") is not None or kwargs.get("mm_encoder_outputs"):
            raise AttachError(PRE_ENCODED)
        if cached_length(cache_of(kwargs)):
            raise AttachError(
                f"{self.cache} with new images: the cached prompt's length is not that of its ids once images are "
                f"pruned; pass the whole conversation without a cache"
            )
        check_along(kwargs, ids, self.model, self.adapter.position_axes, self.items.inputs)
        with self.lock, within():
            start = time.perf_counter()
            encoded = self.items.encode(kwargs, ids, self.attachment)
            encode_ms = (time.perf_counter() - start) * 1e3
        ids = self.items.marked(ids, encoded.kinds)
        prompts = owners(ids, placeholder, encoded.counts)
        layout = self.items.layout(encoded, prompts)
        encoded = self.items.framed(encoded, layout)
        tokens = encoded.tokens
        if "text.embeddings" in self.attachment.needs:
            words = partial(text_embeddings, self.model, ids, kwargs.get("attention_mask"), placeholder, prompts)
            tokens = replace(tokens, signals=tokens.signals.beside({"text.embeddings": words}))
        encoded = replace(encoded, tokens=self.attachment.with_given(tokens, {**kwargs, "prompts": prompts}))
        return encoded, layout, encode_ms

    def splice(
        self, kwargs: Mapping[str, Any], parts: Sequence[tuple[Encoded, Selection]], marked: Tensor | None = None
    ) -> Rewritten:
        """The call with only the kept rows of its images.

        Args:
            kwargs: The caller's call.
            parts: Images and their selections, in placeholder order.
            marked: (B, L) ids with the image placeholder wherever an image or a video goes; from ``kwargs`` if left
                out, where all prompts hold items of the same call.
        """
        ids: Tensor = kwargs["input_ids"]
        marked = self.items.marked(ids, parts[0][0].kinds) if marked is None else marked
        along = along_prompt(kwargs)
        mask = along.pop("attention_mask", None)
        rows: list[Tensor] = []
        flags: list[Tensor] = []
        places: list[Tensor] = []
        own: list[Tensor] = []
        for encoded, selection in parts:
            stay = [encoded.rows_kept(image, kept) for image, kept in enumerate(selection.mask)]
            read = [rows_for(encoded, selection, image, flag) for image, flag in enumerate(stay)]
            same_place = in_place(selection)
            flags += stay
            rows += read
            if self.adapter.position_axes and not same_place:
                own += [own_places(selection, i, len(flag)) for i, flag in enumerate(stay)]
                spots = [torch.zeros_like(flag, dtype=torch.bool) for flag in stay]
                places += [spot.index_fill_(0, own[i].to(spot.device), True) for i, spot in enumerate(spots)]
            else:
                places += [encoded.places_kept(i, flag, len(read[i]), same_place) for i, flag in enumerate(stay)]
        each = [(encoded, chosen, image) for encoded, chosen in parts for image in range(len(encoded.rows))]

        def remaining(item: int, values: Tensor) -> Tensor:
            encoded, chosen, image = each[item]
            rows = [*encoded.rows[:image], values, *encoded.rows[image + 1 :]]
            other = replace(encoded, rows=rows, project=None, parts=())
            return rows_for(other, chosen, image, flags[item])

        kinds = self.items.together([encoded for encoded, _ in parts])
        outputs = self.items.outputs(kinds, rows, remaining)
        short = shorten(marked, mask, int(self.placeholder or 0), torch.cat(places))
        if own:
            short = short.moved(marked, int(self.placeholder or 0), own, [len(flag) for flag in flags])
        spent = set(self.items.inputs) - (set() if self.embeds else set(self.adapter.lasting_inputs))
        stays, inside = ~short.dropped, self.inside is not None
        if inside:  # nothing but text is sure to stay
            stays &= (marked != self.placeholder) & (True if mask is None else mask.to(ids.device) != 0)
        call = for_shortened({n: value for n, value in kwargs.items() if n not in spent}, short, stays, inside)
        call["input_ids"] = short.take(ids, 0 if short.plain else self.padding())
        if mask is not None or not (short.plain or bool(short.kept.all())):
            call["attention_mask"] = short.take(torch.ones_like(ids) if mask is None else mask, 0)
        full = along.pop("position_ids", None)
        call.update({name: short.take(tensor, FILLS[name]) for name, tensor in along.items()})
        if "labels" in along:  # the first token is not predicted, even after padding
            call["labels"] = call["labels"].masked_fill(short.index.to(call["labels"].device) == 0, FILLS["labels"])
        full = None if full is None or full.dim() == 3 else full.expand_as(ids)  # adapters shorten several axes
        policy = self.attachment.pruner.parts["positions"]
        numbered = full
        if numbered is None:  # as generate would number the full prompt
            real = torch.ones_like(ids) if mask is None else mask.to(ids.device).long()
            numbered = real.cumsum(1).sub_(1).clamp_(min=0)
        before = self.state()
        positions = self.adapter.positions(self.model, kwargs, short)
        if positions is None and not self.alone:
            positions = policy.position_ids(numbered, short.index, short.kept)
            moved = any(one.placeholders is not None or not in_place(selection) for one, selection in parts)
            if positions is not None and moved:
                raise AttachError(
                    f"position {policy} needs a placeholder for each token, but some tokens have none: the layout of "
                    f"adapter '{self.adapter.spec.name}' has fewer placeholders, the merger adds rows, or `order` is "
                    f"not raster; omit `positions` to number the remaining tokens"
                )
        if positions is not None:
            call["position_ids"] = positions
            if policy.gapped and call.get("attention_mask") is None:
                call["attention_mask"] = torch.ones_like(call["input_ids"])
        elif full is not None:
            call["position_ids"] = compact_positions(full, short, mask)
        image = (short.take(marked, 0) == self.placeholder) & short.kept
        bias = prompt_bias(self.attachment.pruner, self.model, parts, flags, image)
        prompt, after, whole = None, None, None
        if (numbers := call.get("position_ids")) is not None:
            shown = call.get("attention_mask")
            after = following(numbers, short.kept if shown is None else short.kept & shown.to(short.kept.device).bool())
            real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask != 0
            whole = following(numbered, real) if numbers.dim() == 2 else None
        if self.embeds:
            state = {name: value for name, value in self.state().items() if value is not before[name]}
            shown = short.take(marked, 0)
            more = {"layers": self.items.layers(kinds, outputs), "state": state}
            read_rows = self.items.rows(kinds, outputs)
            prompt = entered(self.model, call, short, shown, int(self.placeholder or 0), read_rows, **more)
        else:
            call["mm_encoder_outputs"] = outputs
        self.attachment.positions = short.index if short.plain else short.index.masked_fill(~short.kept, -1)
        self.attachment.prompt_length = ids.shape[1]
        return Rewritten(call, ids, short, embedded=prompt, after=after, whole=whole, full_mask=mask, bias=bias)

    def state(self) -> dict[str, Any]:
        """The attributes of the base model that calls change, by name."""
        return {name: getattr(base_of(self.model), name) for name in self.adapter.state}

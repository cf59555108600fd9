"""Stages between the layers of the language model, by forward hooks alone.

The language model calls every layer with arguments for the full prompt. From the first stage on, hooks replace them:
hidden states once, at the stage; positions, rotary embedding and mask at each layer after it. Later passes reuse the
selection of the first one: with a cache, whose layers then differ in length, or without one, where the whole sequence
runs again.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import cache_of, cached_length
from scope_adapters.compat.decoders import DEEPSTACK, mask_axes, several_axes, takes_deepstack
from scope_adapters.hosts.huggingface.decoder.offers import check_cache, check_whole, decoder_of
from scope_adapters.hosts.huggingface.decoder.passes import CHANGED, Pass, arguments_after, with_deepstack
from scope_adapters.hosts.huggingface.decoder.run import Run
from scope_adapters.hosts.huggingface.decoder.steps import ADDED, mask_of, seen_by
from scope_core import AttachError, SignalError
from scope_core.adapters import Schedule, Session, replace_attribute
from scope_core.parts import parse_signal

_running: ContextVar[Run | None] = ContextVar("scope_running", default=None)
"""The call that runs in the language model of an attached model now."""


class Decoder:
    """The stages of one attached pruner inside the language model."""

    def __init__(self, model: Any, attachment: Session) -> None:
        self.attachment, self.decoder = attachment, decoder_of(model)
        self.stages = {
            stage.decoder_layer: number
            for number, stage in enumerate(attachment.pruner.stages)
            if stage.decoder_layer is not None
        }
        self.readings = readings(attachment.pruner, attachment.given)
        layers = {number: stage for stage, number in self.stages.items()}
        self.early = {number for number, readers in self.readings.items() if any(layers[s] != number for s in readers)}
        """Layers that run before the stage that reads them, so that what they compute need not be computed again."""
        self.several_axes = several_axes(self.decoder)
        self.mask_axes = checked_mask_axes(self.decoder)
        self._caches: weakref.WeakKeyDictionary[Any, Run] = weakref.WeakKeyDictionary()
        self._thread = threading.local()

    def install(self, undo: ExitStack) -> None:
        """Hook the language model and its layers from the first that a stage uses; ``undo`` removes the hooks."""
        decoder = self.decoder
        first = min([*self.stages, *self.readings])
        undo.callback(decoder.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
        undo.callback(decoder.register_forward_hook(self._end, always_call=True).remove)
        if takes_deepstack(decoder):
            replace_attribute(decoder, DEEPSTACK, self._deepstack(getattr(decoder, DEEPSTACK)), undo)
        for number in range(first, len(decoder.layers)):
            hook = _Before(self, number)
            undo.callback(decoder.layers[number].register_forward_pre_hook(hook, with_kwargs=True).remove)
        for number in sorted(self.early):
            for which in ("q", "k"):
                projection = getattr(decoder.layers[number].self_attn, f"{which}_proj", None)
                if projection is not None:
                    undo.callback(projection.register_forward_hook(_Projected(self, which)).remove)

    @contextmanager
    def running(self, run: Run) -> Iterator[None]:
        """Passes of the language model inside belong to ``run``."""
        token = _running.set(run)
        try:
            yield
        finally:
            _running.reset(token)

    def remembers(self, cache: Any) -> bool:
        """True if ``cache`` holds a prompt that was pruned inside the language model."""
        return cache is not None and cache in self._caches

    def _deepstack(self, inner: Any) -> Any:
        """The method that adds the tower's further features, for the tokens that are left."""

        def added(hidden: Tensor, where: Tensor, extra: Tensor) -> Tensor:
            now: Pass | None = getattr(self._thread, "now", None)
            if now is None or not now.steps:
                return inner(hidden, where, extra)  # type: ignore[no-any-return]
            return with_deepstack(now, hidden, where, extra)

        return added

    def _begin(self, _module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self._thread.now = None
        cache = cache_of(kwargs)
        cached = cached_length(cache)
        given: Any = kwargs.get("inputs_embeds")
        given = given if given is not None else kwargs.get("input_ids", args[0] if args else None)
        rows, queries = given.shape[:2]
        run = _running.get()
        if run is not None and run.owner is not self:
            run = None
        if cached:
            run = self._caches.get(cache) or run
            if run is None:
                check_whole(cache)
                return  # a prompt without images
            if not self.remembers(cache):
                raise AttachError(_OTHER_PROMPT.format(queries, cached, run.length))
        elif run is None:
            return
        else:
            check_cache(cache)
            if queries < run.length or (not run.decided and queries != run.length):
                raise AttachError(_OTHER_PROMPT.format(queries, cached, run.length))
        if rows % run.prompts:
            raise AttachError(f"{rows} rows reached the language model for {run.prompts} prompts")
        run.beams = rows // run.prompts
        self._thread.now = Pass(run, not run.decided, queries, cached)

    def _end(self, *_: Any) -> None:
        self._thread.now = None

    def before(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        """The arguments that layer ``number`` gets instead; None to leave them as they are."""
        now: Pass | None = getattr(self._thread, "now", None)
        if now is None:
            return None
        run, hidden = now.run, args[0] if args else kwargs["hidden_states"]
        if not now.given:
            now.given = {name: kwargs.get(name) for name in CHANGED}
            self._check(now, kwargs)
        if now.first:
            for stage, layer, states, rotary in now.waiting:
                run.read(stage, layer, states, rotary, now.projected)
            now.waiting.clear()
            now.projected.clear()
            self._decide(number, now, hidden)
        step = run.steps.get(number)
        if step is not None:
            if not now.cached:
                hidden = step.take(hidden, run.beams)
            now.steps.append(step)
            now.changed = arguments_after(now, hidden, self.decoder, self.mask_axes)
        if now.first:
            for stage in self.readings.get(number, ()):
                if self.stages.get(number) != stage:
                    rotary = now.changed.get("position_embeddings", now.given["position_embeddings"])
                    now.waiting.append((stage, number, hidden, rotary))
            if number == max(self.stages):
                run.decided = True
                run.forget()
        changed = {**kwargs, **now.changed}
        if args:
            return (hidden, *args[1:]), changed
        return args, {**changed, "hidden_states": hidden}

    def _decide(self, number: int, now: Pass, hidden: Tensor) -> None:
        """Select tokens for the stage before layer ``number``, if there is one."""
        stage = self.stages.get(number)
        if stage is None:
            return
        rotary = now.changed.get("position_embeddings", now.given["position_embeddings"])
        with torch.no_grad():
            if stage in self.readings.get(number, ()):
                now.run.read(stage, number, hidden, rotary)
            step = now.run.decide(stage, hidden, None if self.several_axes else now.given["position_ids"])
        if step is not None:
            now.run.steps[number] = step
            source, added = step.table.source, step.table.candidate == ADDED
            from_prompt = step.table.valid & ~added
            entered = now.run.entered.to(source.device)
            self.attachment.positions = entered.gather(1, source.clamp(min=0)).masked_fill(~from_prompt, -1)

    def _check(self, now: Pass, kwargs: dict[str, Any]) -> None:
        """Refuse arguments of layers that cannot be replaced correctly; remember which call the cache belongs to."""
        cache = cache_of(kwargs)
        check_cache(cache)
        if cache is not None:
            self._caches[cache] = now.run
        mask, numbers = now.given["attention_mask"], now.given["position_ids"]
        if mask is not None and not (isinstance(mask, Tensor) and mask.dim() == self.mask_axes):
            shape = "(B, 1, L, L)" if self.mask_axes == 4 else "(B, L)"
            raise AttachError(
                f"attention gets a mask of {getattr(mask, 'shape', type(mask).__name__)}; stages inside the language "
                f"model expect {shape} of this attention: pass a mask (B, L), or call set_attn_implementation"
            )
        if not self.several_axes and (not isinstance(numbers, Tensor) or numbers.dim() != 2):
            raise AttachError("layers of the language model get no plain position_ids (B, L)")
        if now.first and mask is not None:
            valid = now.run.table.valid.to(mask.device)
            if self.mask_axes == 2:
                wrong = mask[:: now.run.beams].bool() != valid
            else:
                wrong = seen_by(mask)[:: now.run.beams] != mask_of(valid, valid.shape[1], None, None)
                wrong = wrong & valid[:, None, :, None]
            if bool(wrong.any()):
                raise AttachError(
                    "the attention mask is not that of plain causal prompts with padding (packed prompts, or a mask of "
                    "four axes?), so the mask after dropping tokens inside the language model is undefined"
                )


class _Before:
    """The hook of one layer."""

    def __init__(self, decoder: Decoder, number: int) -> None:
        self.decoder, self.number = decoder, number

    def __call__(self, _module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        return self.decoder.before(self.number, args, kwargs)


class _Projected:
    """The hook of a projection whose output a stage reads."""

    def __init__(self, decoder: Decoder, which: str) -> None:
        self.decoder, self.which = decoder, which

    def __call__(self, _module: Any, _args: Any, output: Any) -> None:
        now: Pass | None = getattr(self.decoder._thread, "now", None)
        if now is not None and now.waiting and isinstance(output, Tensor):
            now.projected[self.which] = output.detach()


def checked_mask_axes(decoder: Any) -> int:
    """Axes of the masks that a language model gives its layers.

    Raises:
        AttachError: its attention needs masks of another kind.
    """
    axes = mask_axes(decoder)
    if not axes:
        raise AttachError(
            f"{type(decoder).__name__} gives its layers masks that stages inside the language model do not know: call "
            f"set_attn_implementation('sdpa'), or use 'eager' or a FlashAttention"
        )
    return axes


def readings(pruner: Schedule, given: Collection[str]) -> dict[int, list[int]]:
    """The stages inside the language model that read each of its layers.

    Args:
        pruner: The pruner.
        given: Names of the signals that the caller supplies.

    Raises:
        SignalError: a stage reads a layer that runs after it.
    """
    readers: dict[int, list[int]] = {}
    for number, stage in enumerate(pruner.stages):
        layer = stage.decoder_layer
        for name in sorted(stage.needs) if layer is not None else ():
            family, read = parse_signal(name)
            if not family.startswith("decoder.") or name in given:
                continue
            if read is None or layer is None or not 0 <= read <= layer:
                raise SignalError(
                    f"the stage at '{stage.spec.at}' reads {name}, but layer {read} has not run by then; "
                    f"read a layer from 0 to {layer}"
                )
            if number not in readers.setdefault(read, []):
                readers[read].append(number)
    return readers


_OTHER_PROMPT = (
    "{} positions reached the language model at once, with {} in its cache, but the pruned prompt has {}. A prompt "
    "that is pruned inside the language model has to reach it whole: do not use chunks, speculative decoding or "
    "another call's cache. If this call uses none of them, the model runs its language model in an unsupported way; "
    "`scope doctor` lists the tested versions"
)

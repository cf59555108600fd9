"""Calls that run beside pruning: parts of an attached model called directly, and images given as features."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor

from scope_adapters.compat.caches import cache_of
from scope_adapters.compat.signatures import named
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.cached_prompt import recall
from scope_adapters.hosts.methods import Method, is_within
from scope_core import AttachError
from scope_core.adapters import Session, replace_attribute

_FEATURES = ("image_", "video_")
"""Beginnings of the names of arguments that may hold features."""


def unpruned_images(kwargs: Mapping[str, Any], pixels: Mapping[str, int | None]) -> str:
    """The reason why images or videos of a call are not pruned; empty if it shows none, or has pixels.

    Args:
        kwargs: The call.
        pixels: Names of the arguments for pixels, that of images first, each with the id of its placeholders.
    """
    if any(kwargs.get(name) is not None for name in pixels):
        return ""
    features = [name for name, value in kwargs.items() if name.startswith(_FEATURES) and _is_features(value)]
    first = next(iter(pixels))
    if features:
        return f"{features[0]} holds features that were computed elsewhere; pass {first} with input_ids"
    ids: Any = kwargs.get("input_ids")
    if kwargs.get("inputs_embeds") is not None:
        return f"inputs_embeds may hold features of images, which nothing tells from text; pass {first} with input_ids"
    for name, placeholder in pixels.items():
        if placeholder is not None and isinstance(ids, Tensor) and bool((ids == placeholder).any()):
            kind = "image" if name == first else "video"
            return f"input_ids holds {kind} placeholders (id {placeholder}), but {name} is missing"
    return ""


def tell_unpruned(attachment: Session, kwargs: Mapping[str, Any], pixels: Mapping[str, int | None]) -> None:
    """Warn, and note in the receipt, if images or videos of a call are not pruned."""
    why = unpruned_images(kwargs, pixels)
    if why:
        attachment.left_unpruned(why)


def _is_features(value: Any) -> bool:
    value = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(value, Tensor) and value.is_floating_point()


class _Watch:
    """A hook. Copies and pickles of the model hold one that does nothing."""

    def __init__(self, see: Callable[..., None]) -> None:
        self.see = see

    def __call__(self, *args: Any) -> None:
        self.see(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Watch, (_see_nothing,)


def _see_nothing(*_: Any) -> None:
    pass


class Beside:
    """Watches the parts of one attached model that can be called directly."""

    def __init__(self, model: Any, attachment: Session, pixels: Mapping[str, int | None]) -> None:
        self.model, self.base, self.attachment, self.pixels = model, base_of(model), attachment, pixels
        self.first = next(iter(pixels))
        self.thread = threading.local()

    def install(self, undo: ExitStack) -> None:
        """Hook the base model and its language model, and wrap ``get_image_features`` and its like for videos."""
        undo.callback(self.base.register_forward_pre_hook(_Watch(self._base), with_kwargs=True).remove)
        undo.callback(self.base.register_forward_hook(_Watch(self._base_done), always_call=True).remove)
        language = getattr(self.base, "language_model", None)
        if language is not None:
            undo.callback(language.register_forward_pre_hook(_Watch(self._language), with_kwargs=True).remove)
        for name in ("get_image_features", "get_video_features")[: len(self.pixels)]:
            replace_attribute(
                self.base, name, Method(getattr(self.base, name), partial(self._features, name), self.attachment), undo
            )

    def _base(self, base: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if is_within():
            return
        self.thread.running = True
        call = {**named(type(base).forward, args), **kwargs}
        self._check_cache(base, call)
        direct = f"{type(base).__name__} was called directly, below {type(self.model).__name__}; call the model itself"
        if any(call.get(name) is not None for name in self.pixels) or unpruned_images(call, self.pixels):
            self.attachment.left_unpruned(direct)

    def _base_done(self, *_: Any) -> None:
        if not is_within():
            self.thread.running = False

    def _language(self, language: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if is_within() or getattr(self.thread, "running", False):
            return
        self._check_cache(language, kwargs)
        if kwargs.get("inputs_embeds") is not None:
            self.attachment.left_unpruned(
                f"{type(language).__name__} was called directly, with embeddings that may hold features of images; "
                f"call {type(self.model).__name__} with {self.first}"
            )

    def _features(self, name: str, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not is_within() and not getattr(self.thread, "running", False):
            self.attachment.left_unpruned(
                f"{name}() was called directly and returns all tokens; call {type(self.model).__name__} "
                f"with {self.first}, or pruning.encode()"
            )
        return inner(*args, **kwargs)

    def _check_cache(self, module: Any, call: Mapping[str, Any]) -> None:
        cache = cache_of(call)
        prompt = None if cache is None else recall(cache)
        if prompt is not None:
            raise AttachError(
                f"{type(module).__name__} was called directly with the cache of a prompt that {prompt.label} pruned, "
                f"whose masks and positions only {type(self.model).__name__} continues correctly; call that"
            )

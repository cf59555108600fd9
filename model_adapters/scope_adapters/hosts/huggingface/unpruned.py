"""Calls that run beside pruning: parts of an attached model called directly, and images given as features."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from scope_adapters.compat.caches import cache_of
from scope_adapters.compat.signatures import named
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.cached_prompt import recall
from scope_adapters.hosts.methods import Method, is_within
from scope_core import AttachError
from scope_core.adapters import Session, replace_attribute


def unpruned_images(kwargs: Mapping[str, Any], pixels: str, placeholder: int | None) -> str:
    """The reason why images of a call are not pruned; empty if it shows none, or has pixels.

    Args:
        kwargs: The call.
        pixels: Name of the argument for pixels.
        placeholder: Id of image placeholders.
    """
    if kwargs.get(pixels) is not None:
        return ""
    features = [name for name, value in kwargs.items() if name.startswith("image_") and _is_features(value)]
    if features:
        return f"{features[0]} holds features that were computed elsewhere; pass {pixels} with input_ids"
    ids: Any = kwargs.get("input_ids")
    if kwargs.get("inputs_embeds") is not None:
        return f"inputs_embeds may hold features of images, which nothing tells from text; pass {pixels} with input_ids"
    if placeholder is not None and isinstance(ids, Tensor) and bool((ids == placeholder).any()):
        return f"input_ids holds image placeholders (id {placeholder}), but {pixels} is missing"
    return ""


def tell_unpruned(attachment: Session, kwargs: Mapping[str, Any], pixels: str) -> None:
    """Warn, and note in the receipt, if images of a call are not pruned."""
    why = unpruned_images(kwargs, pixels, attachment.declaration.placeholder)
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

    def __init__(self, model: Any, attachment: Session, pixels: str) -> None:
        self.model, self.base, self.attachment, self.pixels = model, base_of(model), attachment, pixels
        self.placeholder = attachment.declaration.placeholder
        self.thread = threading.local()

    def install(self, undo: ExitStack) -> None:
        """Hook the base model and its language model, and wrap ``get_image_features``."""
        undo.callback(self.base.register_forward_pre_hook(_Watch(self._base), with_kwargs=True).remove)
        undo.callback(self.base.register_forward_hook(_Watch(self._base_done), always_call=True).remove)
        language = getattr(self.base, "language_model", None)
        if language is not None:
            undo.callback(language.register_forward_pre_hook(_Watch(self._language), with_kwargs=True).remove)
        inner = self.base.get_image_features
        replace_attribute(self.base, "get_image_features", Method(inner, self._features, self.attachment), undo)

    def _base(self, base: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if is_within():
            return
        self.thread.running = True
        call = {**named(type(base).forward, args), **kwargs}
        self._check_cache(base, call)
        direct = f"{type(base).__name__} was called directly, below {type(self.model).__name__}; call the model itself"
        if call.get(self.pixels) is not None or unpruned_images(call, self.pixels, self.placeholder):
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
                f"call {type(self.model).__name__} with {self.pixels}"
            )

    def _features(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not is_within() and not getattr(self.thread, "running", False):
            self.attachment.left_unpruned(
                f"get_image_features() was called directly and returns all tokens; call {type(self.model).__name__} "
                f"with {self.pixels}, or pruning.encode()"
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

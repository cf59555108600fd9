"""Wrapped methods of one model instance, and refusals of models that cannot be wrapped."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from scope_adapters.compat.transformers import SERVED, installed_version, lacks
from scope_core import AdapterError, AttachError
from scope_core.adapters import Session

_within: ContextVar[bool] = ContextVar("scope_within", default=False)


@contextmanager
def within() -> Iterator[None]:
    """Let calls of the model inside pass: they belong to a call that was checked, and their features are pruned."""
    token = _within.set(True)
    try:
        yield
    finally:
        _within.reset(token)


def is_within() -> bool:
    """True inside of `within`."""
    return _within.get()


def unwrap(model: Any) -> Any:
    """The model inside ``torch.compile`` and PEFT-style wrappers."""
    return list(_layers(model))[-1]


def _layers(model: Any) -> Iterator[Any]:
    """A model and what it wraps, from the outside in."""
    while True:
        yield model
        inner = vars(model).get("_modules", {}).get("_orig_mod") if hasattr(model, "__dict__") else None
        if inner is None and callable(get := getattr(model, "get_base_model", None)):
            inner = get()
        if inner is None or inner is model:
            return
        model = inner


def check_wrappers(model: Any) -> None:
    """Refuse wrappers that put tokens of their own in front of every prompt, as PEFT's prompt and prefix tuning do.

    Raises:
        AttachError: says which, and what works.
    """
    for wrapper in _layers(model):
        config = getattr(wrapper, "active_peft_config", None)
        if getattr(config, "is_prompt_learning", False):
            raise AttachError(
                f"{type(wrapper).__name__} with {type(config).__name__} puts virtual tokens before every prompt, as "
                f"embeddings or in the cache, where image placeholders cannot be seen; adapters that change weights "
                f"(LoRA, IA3) work, and so does the model inside: attach to model.get_base_model()"
            )


def check_host(model: Any, name: str) -> None:
    """Refuse models that kept rows cannot be passed to.

    Raises:
        AdapterError: says what is missing, and what to do.
    """
    forward = getattr(type(model), "forward", None)
    if forward is None or not hasattr(model, "config"):
        raise AdapterError(f"{name} is not a Hugging Face transformers model: it has no forward() or no config")
    lacking = lacks(model)
    if lacking:
        raise AdapterError(
            f"{name}: {type(model).__name__} of the installed transformers {installed_version()} {lacking}. {SERVED}. "
            f"If your code needs an older one, use an environment of its own, or select from bare tensors "
            f"(docs/bare-tensors.md)"
        )


class Method:
    """A wrapped method of a model. Copies and pickles of the model hold the unwrapped method."""

    def __init__(self, inner: Callable[..., Any], change: Callable[..., Any], attachment: Session) -> None:
        functools.update_wrapper(self, inner)
        self.inner, self.change, self.attachment = inner, change, attachment

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the changed method while the pruner is attached, the unwrapped one afterwards."""
        if not self.attachment.active:
            return self.inner(*args, **kwargs)
        return self.change(self.inner, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unchanged, (self.inner,)


def _unchanged(method: Callable[..., Any]) -> Callable[..., Any]:
    return method

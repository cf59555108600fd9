"""A memo for the tower's first layers: for the same image they run once, and their output is reused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from scope_core.adapters import Memo, replace_attribute

_current: ContextVar[Memo | None] = ContextVar("scope_memo", default=None)

_BESIDE: WeakKeyDictionary[type, int | None] = WeakKeyDictionary()
"""Result of `beside`, by class of layer: known once a layer has run; before that, the memo is not used."""


def beside(output: Any) -> int | None:
    """The number of further entries in a layer's output, a tuple up to transformers 4.x; None for a tensor."""
    return len(output) - 1 if isinstance(output, tuple) else None


def passed_on(hidden_states: Tensor, count: int | None) -> Any:
    """The output of a skipped layer, in the form of one with ``count`` further entries."""
    return hidden_states if count is None else (hidden_states, *[None] * count)


@contextmanager
def remembering(memo: Memo | None) -> Iterator[None]:
    """Let towers that run inside use ``memo``."""
    token = _current.set(memo)
    try:
        yield
    finally:
        _current.reset(token)


def resume(layers: Sequence[nn.Module], first: int, undo: ExitStack) -> None:
    """Make ``layers[:first]`` use the current memo, if there is one.

    The key is a hash of layer 0's input, which depends on the pixels and the embedding, and of the layers' weights. The
    value is the input of ``layers[first]``, bit for bit, so that later layers get the same input as without a memo.

    Args:
        layers: Layers of the tower.
        first: The first layer that is read.
        undo: Restores the layers.
    """
    memo = _current.get()
    if memo is None or first < 1:
        return
    state: dict[str, Any] = {}
    kind = type(layers[0])

    def begin(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        state["key"] = _key(hidden_states, layers[:first])
        state["found"] = found = memo.get(state["key"]) if kind in _BESIDE else None
        if found is not None and found.shape == hidden_states.shape and found.dtype == hidden_states.dtype:
            return passed_on(found.to(hidden_states.device), _BESIDE[kind])
        state["found"] = None
        return keep(0, first_forward(hidden_states, *args, **kwargs))

    def later(number: int, forward: Any) -> Any:
        def run(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            if state.get("found") is not None:
                return passed_on(hidden_states, _BESIDE[kind])
            return keep(number, forward(hidden_states, *args, **kwargs))

        return run

    def keep(number: int, output: Any) -> Any:
        if number == first - 1:
            _BESIDE[kind] = beside(output)
            memo.put(state["key"], (output[0] if isinstance(output, tuple) else output).detach())
        return output

    first_forward = layers[0].forward
    replace_attribute(layers[0], "forward", begin, undo)
    for number, layer in enumerate(layers[1:first], 1):
        replace_attribute(layer, "forward", later(number, layer.forward), undo)


def _key(hidden: Tensor, layers: Sequence[nn.Module]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for tensor in (hidden, *(_sample(parameter) for layer in layers for parameter in layer.parameters())):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _sample(parameter: Tensor) -> Tensor:
    """Whole vectors, every 4097th entry of matrices: enough to distinguish trained towers, and quick to hash."""
    return parameter if parameter.dim() == 1 else parameter.flatten()[::4097]


def _bytes(tensor: Tensor) -> bytes:
    whole = tensor.detach().cpu().clone(memory_format=torch.contiguous_format).flatten()
    return whole.view(torch.uint8).numpy().tobytes()

"""Checks around a call of a part: errors name the part, outputs have the right shape, inputs are left unchanged."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, ScopeError
from scope_core.notes import add_note
from scope_core.parts.base import Part
from scope_core.structures.tokens import VisualTokens


class attribute_errors:  # noqa: N801 - used as a function: `with attribute_errors(part, "score"):`
    """Context manager that adds the part's name to errors other than `ScopeError`.

    With ``tokens``, it also raises `PluginOutputError` if one of their tensors was changed in place.
    """

    __slots__ = ("before", "method", "part", "tokens")

    def __init__(self, part: Part[Any], method: str, tokens: VisualTokens | None = None) -> None:
        self.part, self.method, self.tokens = part, method, tokens

    def __enter__(self) -> None:
        self.before = [] if self.tokens is None else _versions(self.tokens)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            if not isinstance(error, ScopeError):
                add_note(error, f"raised by {self.method}() of {self.part.kind} {self.part}")
            return
        for tensor, version in self.before:
            if tensor._version != version and self.tokens is not None:
                named = [*zip(_FIELDS, _fields(self.tokens), strict=True), *self.tokens.signals.computed()]
                name = next(name for name, other in named if other is tensor)
                changed = f"the field '{name}'" if name in _FIELDS else f"signal '{name}'"
                raise PluginOutputError(
                    f"{self.method}() of {self.part.kind} {self.part} changed {changed} of "
                    f"{_name_groups(self.tokens)} in place; other parts read it too, so change a copy (.clone())"
                )


_FIELDS = ("features", "valid", "required", "row", "col", "tile", "image", "saliency")
_fields = attrgetter(*_FIELDS)


def _versions(tokens: VisualTokens) -> list[tuple[Tensor, int]]:
    """Each tensor with torch's count of writes to it; tensors made in inference mode have no count."""
    tensors = (*_fields(tokens), *(tensor for _, tensor in tokens.signals.computed()))
    return [(tensor, tensor._version) for tensor in tensors if isinstance(tensor, Tensor) and not tensor.is_inference()]


def _name_groups(tokens: VisualTokens) -> str:
    return tokens.name_of(0) if tokens.shape[0] == 1 else f"{tokens.shape[0]} groups"


def expect(tensor: object, shape: tuple[int, ...], what: str, tokens: VisualTokens) -> None:
    """Raise `PluginOutputError` unless ``tensor`` is floating point, of ``shape`` and on the tokens' device."""
    if not isinstance(tensor, Tensor):
        wrong = f"{type(tensor).__name__}; expected a tensor of shape {tuple(shape)}"
    elif tuple(tensor.shape) != tuple(shape):
        wrong = f"shape {tuple(tensor.shape)}; expected {tuple(shape)}"
    elif not tensor.is_floating_point():
        wrong = f"dtype {tensor.dtype}; expected floating point"
    elif tensor.device != tokens.device:
        wrong = f"a tensor on {tensor.device}; the tokens are on {tokens.device}"
    else:
        return
    raise PluginOutputError(f"{what} on {_name_groups(tokens)} returned {wrong}")


def is_writable(matrix: Tensor, tokens: VisualTokens) -> bool:
    """True if ``matrix`` may be modified in place: contiguous, no view, no alias of an input, no gradient."""
    if matrix._base is not None or matrix.requires_grad or not matrix.is_contiguous():
        return False
    if matrix.is_inference() and not torch.is_inference_mode_enabled():
        return False
    inputs = [tokens.features, tokens.saliency, *(tensor for _, tensor in tokens.signals.computed())]
    address = matrix.untyped_storage().data_ptr()
    return all(tensor is None or tensor.untyped_storage().data_ptr() != address for tensor in inputs)

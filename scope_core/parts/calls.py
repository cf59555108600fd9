"""Calling a part: errors that name it, outputs of the right shape, and inputs left as they were."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, ScopeError
from scope_core.notes import add_note
from scope_core.parts.base import Part
from scope_core.structures.tokens import VisualTokens


class attribute_errors:  # noqa: N801 - reads as a word in `with attribute_errors(part, "score")`
    """Errors that leave the block and are none of ours get a note that names the part they came from.

    With ``tokens`` it is an error of the part's if one of their tensors was changed in place.
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
                named = [*zip(_PLANES, _planes(self.tokens), strict=True), *self.tokens.signals.computed()]
                name = next(name for name, other in named if other is tensor)
                said = name if name in _PLANES else f"signal '{name}'"
                raise PluginOutputError(
                    f"{said} of {_those(self.tokens)} were changed in place by {self.method}() of {self.part.kind} "
                    f"{self.part}; others read them too, so it must work on a copy"
                )


_PLANES = ("features", "valid", "required", "row", "col", "tile", "image", "saliency")
_planes = attrgetter(*_PLANES)


def _versions(tokens: VisualTokens) -> list[tuple[Tensor, int]]:
    """How often each tensor was written to, as torch counts it; tensors of inference mode do not."""
    tensors = (*_planes(tokens), *(tensor for _, tensor in tokens.signals.computed()))
    return [(one, one._version) for one in tensors if isinstance(one, Tensor) and not one.is_inference()]


def _those(tokens: VisualTokens) -> str:
    return tokens.name_of(0) if tokens.shape[0] == 1 else f"{tokens.shape[0]} groups"


def expect(tensor: object, shape: tuple[int, ...], what: str, tokens: VisualTokens) -> None:
    """Refuse a part's output that is no floating-point tensor of ``shape`` on the tokens' device."""
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
    raise PluginOutputError(f"{what} on {_those(tokens)} returned {wrong}")


def is_writable(matrix: Tensor, tokens: VisualTokens) -> bool:
    """True if a part's result may be modified in place: contiguous, no view, no alias of an input, no gradient."""
    if matrix._base is not None or matrix.requires_grad or not matrix.is_contiguous():
        return False
    if matrix.is_inference() and not torch.is_inference_mode_enabled():
        return False
    given = [tokens.features, tokens.saliency, *(tensor for _, tensor in tokens.signals.computed())]
    place = matrix.untyped_storage().data_ptr()
    return all(one is None or one.untyped_storage().data_ptr() != place for one in given)

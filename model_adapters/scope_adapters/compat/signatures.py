"""Parameters of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any


def parameters(function: Callable[..., Any]) -> frozenset[str]:
    """The names of the parameters of a function or method, under its decorators."""
    return frozenset(inspect.signature(function).parameters)


def named(method: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """Positional arguments of a method, without the instance, by name."""
    given = inspect.signature(method).bind_partial(None, *args).arguments if args else {}
    return dict(list(given.items())[1:])


def required(function: Callable[..., Any], names: Collection[str]) -> list[str]:
    """Those of ``names`` that a function or method cannot be called without, in its order."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters
    needed = (name for name, one in found.items() if one.default is one.empty and one.kind not in variable)
    return [name for name in needed if name in names]

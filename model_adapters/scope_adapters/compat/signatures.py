"""What a function takes: how compatibility is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def parameters(function: Callable[..., Any]) -> frozenset[str]:
    """Names of the parameters of a function or method, decorators looked through."""
    return frozenset(inspect.signature(function).parameters)


def named(method: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """Positional arguments of a method of a class, by name; the instance is not among them."""
    given = inspect.signature(method).bind_partial(None, *args).arguments if args else {}
    return dict(list(given.items())[1:])

"""The order in which towers with window attention read blocks of patches."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from scope_core.adapters import replace_attribute

WINDOW_METHODS = ("permute_input_for_window_attn", "get_window_index")
"""Methods of a tower with window attention that know the order of its blocks, newest first: an argument of the first,
the first result of the second (up to 5.0)."""
WINDOW_FUNCTION = "get_vision_window_index"
"""A function of the tower's module whose first result is that order; all that tells it in between (5.10)."""


def window_method(tower: Any) -> str:
    """What tells the order of a tower's blocks: one of `WINDOW_METHODS`, or `WINDOW_FUNCTION`; else the newest name."""
    newest, oldest = WINDOW_METHODS
    if not hasattr(tower, newest) and hasattr(sys.modules[type(tower).__module__], WINDOW_FUNCTION):
        return WINDOW_FUNCTION
    return oldest if not hasattr(tower, newest) and hasattr(tower, oldest) else newest


@contextmanager
def window_order(tower: Any, name: str, tell: Callable[[Any], None]) -> Iterator[None]:
    """Pass the order of blocks to ``tell`` in each call of ``tower``; ``name`` as `window_method` gives it."""
    with ExitStack() as undo:
        if name == WINDOW_FUNCTION:
            undo.callback(tower.register_forward_pre_hook(_by_function(tell), with_kwargs=True).remove)
        else:
            replace_attribute(tower, name, _by_method(name, getattr(tower, name), tell), undo)
        yield


def _by_function(tell: Callable[[Any], None]) -> Callable[..., None]:
    def told(tower: Any, args: Any, kwargs: Any) -> None:
        call = inspect.signature(type(tower).forward).bind(tower, *args, **kwargs).arguments
        function = getattr(sys.modules[type(tower).__module__], WINDOW_FUNCTION)
        sizes = {name: getattr(tower, name) for name in ("spatial_merge_size", "window_size", "patch_size")}
        tell(function(call["grid_thw"], **sizes, kwargs=dict(kwargs))[0])

    return told


def _by_method(name: str, method: Callable[..., Any], tell: Callable[[Any], None]) -> Callable[..., Any]:
    """A method of `WINDOW_METHODS` that also passes the order of blocks, a tensor, to ``tell``."""

    def given(tensor: Any, order: Any, *args: Any, **kwargs: Any) -> Any:
        tell(order)
        return method(tensor, order, *args, **kwargs)

    def returned(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        tell(result[0])
        return result

    return given if name == WINDOW_METHODS[0] else returned

"""Running code outside of the graphs that ``torch.compile`` makes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def untraced(function: Function) -> Function:
    """``function``, not traced where a caller is compiled.

    Selecting reads numbers, compiles kernels of its own and calls third-party parts: nothing that a graph could hold.
    Where ``torch.compile`` was never used its tracer is not loaded, which takes a second, and nothing is to be done.
    """
    tracer = sys.modules.get("torch._dynamo")
    if tracer is None:
        return function
    outside: Function = tracer.disable(function)
    return outside

"""`untraced`: run a function outside of the graphs of ``torch.compile``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def untraced(function: Function) -> Function:
    """``function``, left out of the graph when its caller is compiled.

    Selection reads tensor values, compiles kernels of its own and calls third-party parts, none of which a graph can
    hold. If ``torch.compile`` was never used, its tracer is not loaded (that takes a second) and ``function`` is
    returned as it is.
    """
    tracer = sys.modules.get("torch._dynamo")
    if tracer is None:
        return function
    disabled: Function = tracer.disable(function)
    return disabled

"""`untraced`: a function that runs outside of the graphs of ``torch.compile``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def untraced(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: leaves ``function`` out of the graph when its caller is compiled.

    Selection reads tensor values, compiles kernels of its own and calls third-party parts, none of which a graph can
    hold. If ``torch.compile`` was never used, its tracer is not loaded (that takes a second) and ``function`` is
    called as it is.
    """
    disabled: Callable[P, R] | None = None

    @functools.wraps(function)
    def outside(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal disabled
        if disabled is None:
            tracer = sys.modules.get("torch._dynamo")
            if tracer is None:
                return function(*args, **kwargs)
            disabled = tracer.disable(function)
        return disabled(*args, **kwargs)

    return outside

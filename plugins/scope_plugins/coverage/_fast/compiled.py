"""Compilation of functions to machine code, if numba is installed."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import torch

_WORTH_THREADS = 2**20
"""Numbers that take about as long to read as threads take to start several times over: half a millisecond."""
NO_NUMBA = "numba is not installed, or cannot be imported; pip install --upgrade numba"


def installed() -> bool:
    """True if numba is installed. Plans do not import it: vLLM's engine cannot start in a process that has."""
    return available() if "numba" in sys.modules else find_spec("numba") is not None


@functools.cache
def available() -> bool:
    """True if numba can be imported; with a NumPy that is too new for it, it cannot."""
    try:
        import numba  # noqa: F401
    except Exception:  # whatever the error, selection works without numba
        return False
    return True


def compiled(function: Any) -> Any:
    """The function as machine code, cached on disk if possible."""
    import numba

    # inputs hold no NaN and the sign of a zero does not matter, so maxima can be vectorised; the order of sums is kept
    options: dict[str, Any] = {"nogil": True, "fastmath": {"nnan", "nsz"}}
    try:
        return _tolerant(numba.njit(cache=True, **options)(function))
    except RuntimeError:  # neither this folder nor the user's cache folder is writable
        return numba.njit(**options)(function)


def for_each(run: Callable[[int], None], groups: int, numbers: int) -> None:
    """Call compiled code for each group, on as many threads as torch has if there are many numbers to read.

    Args:
        run: Called with the number of a group; compiled code runs without Python's lock, so that calls overlap.
        groups: Number of groups.
        numbers: Numbers that all groups read together.
    """
    threads = min(torch.get_num_threads(), groups)
    if threads < 2 or numbers < _WORTH_THREADS:
        for group in range(groups):
            run(group)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(groups)))  # raises what a call raised


def _tolerant(dispatcher: Any) -> Any:
    """The dispatcher, for which a cache that is full or damaged means compiling anew instead of an error."""
    cache = getattr(dispatcher, "_cache", None)
    for name in ("load_overload", "save_overload"):
        if hasattr(cache, name):
            setattr(cache, name, functools.partial(_attempt, getattr(cache, name)))
    return dispatcher


def _attempt(method: Any, *args: Any) -> Any:
    try:
        return method(*args)
    except Exception as error:  # which kind depends on where a file is damaged
        _warn_once(type(error).__name__, getattr(error, "strerror", None) or str(error))
        return None


@functools.cache
def _warn_once(kind: str, reason: str) -> None:
    warnings.warn(
        f"numba's cache cannot be used ({kind}: {reason}), so code is compiled anew in each process. To choose another "
        f"folder for it, set NUMBA_CACHE_DIR",
        stacklevel=2,
    )

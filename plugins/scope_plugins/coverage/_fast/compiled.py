"""Compilation of functions to machine code, if numba is installed."""

from __future__ import annotations

import functools
from typing import Any

NO_NUMBA = "numba is not installed, or cannot be imported; pip install --upgrade numba"


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
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache folder is writable
        return numba.njit(**options)(function)

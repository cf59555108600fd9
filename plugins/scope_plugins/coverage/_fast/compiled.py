"""Functions as machine code, where numba is there."""

from __future__ import annotations

import functools
from typing import Any

NO_NUMBA = "numba is not installed, or cannot be imported; pip install --upgrade numba"


@functools.cache
def available() -> bool:
    """Whether numba is there and can be imported, which releases of NumPy that it does not know prevent."""
    try:
        import numba  # noqa: F401
    except Exception:  # whatever keeps it from being imported, the loop needs none of it
        return False
    return True


def compiled(function: Any) -> Any:
    """The function as machine code, which numba keeps on disk where it can."""
    import numba

    # no NaN gets here and the sign of a zero does not matter, so a maximum can be found several numbers at a time;
    # sums are left in their order
    options: dict[str, Any] = {"nogil": True, "fastmath": {"nnan", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside this file nor in a user's folder can be written
        return numba.njit(**options)(function)

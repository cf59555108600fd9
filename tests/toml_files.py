"""Reading TOML: Python's own module, or on 3.10 the one it was made from, which pytest brings along there."""

from __future__ import annotations

try:
    from tomllib import loads
except ImportError:
    from tomli import loads

__all__ = ["loads"]

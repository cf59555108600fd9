"""`PartLookup`: what specs need of a registry; and the registry that they use if none is given.

Specs do not import the registry, which imports them. So they use a protocol, and get the registry of the process from a
function that the package's root provides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class PartLookup(Protocol):
    """The methods of a registry that specs use."""

    def kinds(self) -> list[str]:
        """Every kind of part."""
        ...

    def names(self, kind: str) -> list[str]:
        """The names registered under ``kind``, sorted."""
        ...

    def has(self, kind: str, name: str) -> bool:
        """True if ``name`` is registered under ``kind``."""
        ...

    def get(self, kind: str, name: str) -> Any:
        """The record of ``name``; raises `ScopeError` unless exactly one is registered."""
        ...

    def records(self, kind: str) -> list[Any]:
        """The records of ``kind``, sorted by name."""
        ...

    def default(self, kind: str) -> Any:
        """The record used if a spec leaves a slot of ``kind`` out, or None."""
        ...


_defaults: list[Callable[[], PartLookup]] = []


def provide_default(make: Callable[[], PartLookup]) -> None:
    """Set the function that returns the registry of this process."""
    _defaults[:] = [make]


def default_lookup() -> PartLookup:
    """The registry of this process."""
    (make,) = _defaults
    return make()

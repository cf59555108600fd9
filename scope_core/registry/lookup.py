"""Looking parts up by name, as specs do it; and which registry they use where none is named.

Specs stand below the registry, so they ask through a protocol, and for the registry of the process through one cell
that the package's root fills.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class PartLookup(Protocol):
    """What specs ask of a registry."""

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
        """The record of ``name``; raises `ScopeError` where there is none, or two."""
        ...

    def records(self, kind: str) -> list[Any]:
        """The records of ``kind``, sorted by name."""
        ...

    def default(self, kind: str) -> Any:
        """The record used where a spec leaves a slot of ``kind`` out, or None."""
        ...


_defaults: list[Callable[[], PartLookup]] = []


def provide_default(make: Callable[[], PartLookup]) -> None:
    """Set the function that gives the registry of this process."""
    _defaults[:] = [make]


def default_lookup() -> PartLookup:
    """The registry of this process."""
    (make,) = _defaults
    return make()

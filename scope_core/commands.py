"""Adding commands and self-checks to ``scope``.

from scope_core.commands import Command
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.registry.entries import Check, Command, Finding

_HOMES = {
    "registry.entries": "Check Command Finding",
}

__all__ = [
    "Check",
    "Command",
    "Finding",
]

if not TYPE_CHECKING:  # type checkers know the imports above, and report names that are not there
    __getattr__, __dir__ = lazy(__name__, _HOMES)

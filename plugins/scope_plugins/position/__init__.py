"""Built-in position policies."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_position_policies() -> Iterable[Entry]:
    """Positions without gaps, or as in the full prompt."""
    yield Entry(
        "scope_plugins.position.compact:Compact", "compact", "number the shortened prompt without gaps", default=True
    )
    yield Entry(
        "scope_plugins.position.original:Original",
        "original",
        "every remaining token keeps its position in the full prompt, with gaps",
    )

"""Built-in position policies."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.position.compact import Compact, CompactSpec
from scope_plugins.position.original import Original, OriginalSpec


@hookimpl
def scope_position_policies() -> Iterable[Entry]:
    """Compact (numbered as if written so), or as in the full prompt."""
    yield Entry(CompactSpec, Compact, "number the shortened prompt without gaps", default=True)
    yield Entry(OriginalSpec, Original, "every remaining token keeps its position in the full prompt, with gaps")

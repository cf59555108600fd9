"""Built-in mergers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.merger.none import NoMerger, NoMergerSpec


@hookimpl
def scope_mergers() -> Iterable[Entry]:
    """None: dropped tokens are gone, as in SCOPE."""
    yield Entry(NoMergerSpec, NoMerger, "dropped tokens are gone", paper="SCOPE, arXiv 2510.24214", default=True)

"""What this distribution adds to scope-core: one saliency source and one coverage function."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_saliency_sources() -> Iterable[Entry]:
    """Local contrast."""
    yield Entry(
        "scope_example.local_contrast:LocalContrast",
        "example.local_contrast",
        "how much a token differs from its neighbours on the grid",
    )


@hookimpl
def scope_coverage_functions() -> Iterable[Entry]:
    """Saturated coverage."""
    yield Entry(
        "scope_example.saturated:Saturated",
        "example.saturated",
        "facility location that is content at a similarity of `cap`",
    )

"""What this distribution adds to scope-core: one saliency source and one coverage function."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_example.local_contrast import LocalContrast, LocalContrastSpec
from scope_example.saturated import Saturated, SaturatedSpec


@hookimpl
def scope_saliency_sources() -> Iterable[Entry]:
    """Local contrast."""
    yield Entry(LocalContrastSpec, LocalContrast, "how much a token differs from its neighbours on the grid")


@hookimpl
def scope_coverage_functions() -> Iterable[Entry]:
    """Saturated coverage."""
    yield Entry(SaturatedSpec, Saturated, "facility location that is content at a similarity of `cap`")

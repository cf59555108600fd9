"""Self-checks that scope_adapters adds to `scope doctor`: versions that were tested, and each way of pruning, tried."""

from __future__ import annotations

from collections.abc import Iterator

from scope_core.commands import Check
from scope_core.parts import hookimpl


@hookimpl
def scope_checks() -> Iterator[Check]:
    """The versions first; then every way on a tiny model."""
    here = "scope_adapters.checks"
    yield Check("tested_versions", f"{here}.tested:versions", "versions that were tested", tries=False)
    ways = f"{here}.ways"
    needs = ("transformers",)
    yield Check("prunes_before_projector", f"{ways}:before_projector", "prunes before the projector", requires=needs)
    yield Check("prunes_after_projector", f"{ways}:after_projector", "prunes after the projector", requires=needs)
    yield Check("prunes_with_merging", f"{ways}:with_merging", "prunes and merges", requires=needs)
    yield Check("prunes_inside_llm", f"{ways}:inside_llm", "prunes inside the language model", requires=needs)
    yield Check("prunes_original_llava", f"{here}.original:pruned", "prunes in the original LLaVA codebase")

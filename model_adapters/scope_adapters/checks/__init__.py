"""Self-checks that scope_adapters adds to `scope doctor`: tested versions, and a trial of each way of pruning."""

from __future__ import annotations

from collections.abc import Iterator

from scope_core.commands import Check
from scope_core.parts import hookimpl


@hookimpl
def scope_checks() -> Iterator[Check]:
    """The versions first, then every way of pruning on a tiny model."""
    package = "scope_adapters.checks"
    yield Check("tested_versions", f"{package}.tested:versions", "versions that were tested", tries=False)
    ways = f"{package}.ways"
    needs = ("transformers",)
    yield Check("prunes_before_projector", f"{ways}:before_projector", "prunes before the projector", requires=needs)
    yield Check("prunes_after_projector", f"{ways}:after_projector", "prunes after the projector", requires=needs)
    yield Check("prunes_with_merging", f"{ways}:with_merging", "prunes and merges", requires=needs)
    yield Check("prunes_inside_llm", f"{ways}:inside_llm", "prunes inside the language model", requires=needs)
    yield Check("prunes_original_llava", f"{package}.original:pruned", "prunes in the original LLaVA codebase")

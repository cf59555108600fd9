"""The conformance kit, for authors of parts and adapters.

    from scope_core.testing import parametrize

    @parametrize("acme.spread")
    def test_contract(check):
        check()

`parametrize` makes one test case for each property that a part must have; `check_saliency`, `check_coverage` and the
others do the same without pytest, and `check_adapter` does it for an adapter on a model, with `padded_prompts`. A
property that does not hold raises `ConformanceError`, which names the part, the property, and the smallest example that
was found.

`snapshot` and `diff` are useful by themselves: they find everything about a module tree that attaching could change.
"""

from __future__ import annotations

from scope_core.testing.adapters.conformance import PROPERTIES, Conformance, check_adapter
from scope_core.testing.adapters.harness import MakeInputs
from scope_core.testing.adapters.prompts import padded_prompts
from scope_core.testing.adapters.snapshots import Snapshot, diff, snapshot
from scope_core.testing.failures import ConformanceError
from scope_core.testing.parts.cases import Case, MakeSignal
from scope_core.testing.parts.checks import (
    Conditions,
    check_budget,
    check_combiner,
    check_constraint,
    check_coverage,
    check_merger,
    check_optimizer,
    check_partition,
    check_position,
    check_saliency,
    check_selector,
    check_similarity,
    check_statistic,
    check_task,
    parametrize,
)
from scope_core.testing.parts.properties import PartConformance, properties_of

__all__ = [
    "PROPERTIES",
    "Case",
    "Conditions",
    "Conformance",
    "ConformanceError",
    "MakeInputs",
    "MakeSignal",
    "PartConformance",
    "Snapshot",
    "check_adapter",
    "check_budget",
    "check_combiner",
    "check_constraint",
    "check_coverage",
    "check_merger",
    "check_optimizer",
    "check_partition",
    "check_position",
    "check_saliency",
    "check_selector",
    "check_similarity",
    "check_statistic",
    "check_task",
    "diff",
    "padded_prompts",
    "parametrize",
    "properties_of",
    "snapshot",
]

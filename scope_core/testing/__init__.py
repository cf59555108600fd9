"""For authors of adapters: does an adapter keep its promises on a model?

    from scope_core.testing import check_adapter

    def test_my_adapter():
        check_adapter("acme.tiny", tiny_model(), make_inputs)

One call runs every property in `PROPERTIES`. A broken one raises `ConformanceError`, which says which property
broke and how; what could not be tried on this model is in the report, with the reason.

`snapshot` and `diff` are of use by themselves: everything about a module tree that attaching could change.
"""

from __future__ import annotations

from scope_core.testing.conformance import PROPERTIES, Conformance, ConformanceError, check_adapter
from scope_core.testing.harness import MakeInputs
from scope_core.testing.snapshots import Snapshot, diff, snapshot

__all__ = [
    "PROPERTIES",
    "Conformance",
    "ConformanceError",
    "MakeInputs",
    "Snapshot",
    "check_adapter",
    "diff",
    "snapshot",
]

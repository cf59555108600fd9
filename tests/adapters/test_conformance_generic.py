"""The adapter `generic` keeps every promise of `scope_core.testing` on a model of each type that it serves.

A file of its own: it takes longer than all other adapters together.
"""

from __future__ import annotations

import pytest

from adapters.test_conformance import CASES, keep_promises


@pytest.mark.parametrize("kind", CASES["generic"])
def test_it_keeps_its_promises(kind: str) -> None:
    keep_promises("generic", kind)

"""`tile`: each tile that holds a token is a group."""

from __future__ import annotations

from fakes import built

import scope_core as scope
from plugins.partition.cases import LAYOUT
from scope_core.parts import Span


def test_groups(registry: scope.Registry) -> None:
    assert built(registry, "partition", "tile").split(LAYOUT) == ((Span(0, 0, 2),), (Span(0, 2, 5),), (Span(1, 0, 4),))

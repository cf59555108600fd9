"""`prompt`: the images of a prompt are a group."""

from __future__ import annotations

from fakes import built

import scope_core as scope
from plugins.partition.cases import LAYOUT
from scope_core.parts import Span


def test_groups(registry: scope.Registry) -> None:
    assert built(registry, "partition", "prompt").split(LAYOUT) == ((Span(0, 0, 5), Span(2, 0, 0)), (Span(1, 0, 4),))

"""`chunks`: runs of tokens that are as equal as can be."""

from __future__ import annotations

import pytest
from fakes import built

import scope_core as scope
from scope_core import Layout


@pytest.mark.parametrize(
    ("tokens", "count", "sizes"),
    [(10, 3, [4, 3, 3]), (2, 3, [1, 1]), (0, 3, []), (9, 3, [3, 3, 3]), (2, 2**62, [1, 1])],
)
def test_chunks_are_as_equal_as_can_be(tokens: int, count: int, sizes: list[int], registry: scope.Registry) -> None:
    groups = built(registry, "partition", {"name": "chunks", "count": count}).split(Layout.of([tokens]))
    assert [sum(span.tokens for span in group) for group in groups] == sizes
    assert [span.start for group in groups for span in group] == [sum(sizes[:i]) for i in range(len(sizes))]

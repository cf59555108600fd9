"""Pieces of groups that lie in one tile each, against every pair of spans and tiles."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scope_core import Layout
from scope_core.parts import Span
from scope_core.structures.units import cells


def by_pairs(layout: Layout, groups: list[tuple[Span, ...]]) -> list[tuple[int, int, int, int]]:
    found = []
    for number, group in enumerate(groups):
        for span in group:
            tiles = layout.images[span.image].tiles
            for tile, tokens in enumerate(tiles):
                inside = set(range(sum(tiles[:tile]), sum(tiles[:tile]) + tokens)) & set(range(span.start, span.stop))
                found += [(number, span.image, tile, len(inside))] if inside else []
    return found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=3), st.data())
def test_pieces_of_tiles_some_of_which_are_empty(tiles: list[list[int]], data: st.DataObject) -> None:
    groups = []
    for image, counts in enumerate(tiles):
        start = data.draw(st.integers(0, sum(counts)))
        groups.append((Span(image, start, data.draw(st.integers(start, sum(counts)))), Span(image, 0, sum(counts))))
    layout = Layout.of(tiles)
    assert cells(layout, groups) == by_pairs(layout, groups)

"""Every partition holds every token once."""

from __future__ import annotations

from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=4), st.data())
def test_partitions_hold_every_token_once(tiles: list[list[int]], data: st.DataObject) -> None:
    prompts = data.draw(st.lists(st.integers(0, 2), min_size=len(tiles), max_size=len(tiles)))
    registry = scope.default_registry()
    layout = Layout.of(tiles, prompts=prompts)
    for record in registry.records("partition"):
        spans = [span for group in built(registry, "partition", record.name).split(layout) for span in group]
        held = [(span.image, place) for span in spans for place in range(span.start, span.stop)]
        assert sorted(held) == [(n, place) for n, image in enumerate(layout.images) for place in range(image.tokens)]

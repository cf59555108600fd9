"""Partitions, the cells constraint, and the parts that do nothing on purpose."""

from __future__ import annotations

import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout, VisualTokens
from scope_core.parts import Span

LAYOUT = Layout.of([[2, 0, 3], 4, 0], prompts=[0, 1, 0])


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("image", ((Span(0, 0, 5),), (Span(1, 0, 4),), (Span(2, 0, 0),))),
        ("tile", ((Span(0, 0, 2),), (Span(0, 2, 5),), (Span(1, 0, 4),))),
        ("prompt", ((Span(0, 0, 5), Span(2, 0, 0)), (Span(1, 0, 4),))),
    ],
)
def test_partition(name: str, groups: tuple[tuple[Span, ...], ...], registry: scope.Registry) -> None:
    assert built(registry, "partition", name).split(LAYOUT) == groups


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=4), st.data())
def test_partitions_hold_every_token_once(tiles: list[list[int]], data: st.DataObject) -> None:
    prompts = data.draw(st.lists(st.integers(0, 2), min_size=len(tiles), max_size=len(tiles)))
    registry = scope.default_registry()
    layout = Layout.of(tiles, prompts=prompts)
    for record in registry.records("partition"):
        spans = [span for group in built(registry, "partition", record.name).split(layout) for span in group]
        held = [(span.image, place) for span in spans for place in range(span.start, span.stop)]
        assert sorted(held) == [(n, place) for n, image in enumerate(layout.images) for place in range(image.tokens)]


class TestCells:
    TOKENS = VisualTokens.of(torch.ones(2, 6, 2), grid=(2, 3))

    def test_masks(self, registry: scope.Registry) -> None:
        cells = built(registry, "constraint", {"name": "cells", "keep": [[0, 1], [1, 2]], "drop": [[1, 0]]})
        assert cells.must_keep(self.TOKENS).nonzero()[:, 1].tolist() == [1, 5, 1, 5]
        assert cells.must_drop(self.TOKENS).nonzero()[:, 1].tolist() == [3, 3]

    def test_nothing_said(self, registry: scope.Registry) -> None:
        cells = built(registry, "constraint", "cells")
        assert cells.must_keep(self.TOKENS) is None
        assert cells.must_drop(self.TOKENS) is None

    def test_a_cell_off_the_grid_is_an_error(self, registry: scope.Registry) -> None:
        cells = built(registry, "constraint", {"name": "cells", "keep": [[2, 0]]})
        with pytest.raises(scope.TokensError, match="no token at row 2, column 0; the last row is 1, the last column 2"):
            cells.must_keep(self.TOKENS)
        with pytest.raises(scope.TokensError, match="tokens without a grid"):
            cells.must_keep(VisualTokens.of(torch.ones(1, 6, 2)))

    @pytest.mark.parametrize("cell", [[-1, 0], [0], [0, 0, 0], "ab"])
    def test_what_is_no_cell(self, cell: object) -> None:
        with pytest.raises(scope.SpecError, match=r"constraints\.0\.keep\.0"):
            scope.Pruner("scope@4", constraints=[{"name": "cells", "keep": [cell]}])


def test_merging_nothing_and_compact_positions_say_none(registry: scope.Registry) -> None:
    chosen = scope.select(torch.eye(4), spec="coverage_only@2")
    assert built(registry, "merger", "none").weights(chosen) is None
    full = torch.arange(6)[None]
    assert built(registry, "position", "compact").position_ids(full, full[:, ::2], torch.ones(1, 3)) is None

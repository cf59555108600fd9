"""`expand`: anchors and their neighbours."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from plugins.cases import TOP
from scope_core import VisualTokens
from scope_plugins.selector.expand import SIDES


class TestExpand:
    def keep(self, anchor: int, keep: int = 20, wrap: bool = False, **more: Any) -> list[int]:
        """Kept tokens of a 6 x 6 grid with one or more anchors, the rest from the end."""
        share = more.pop("share", 5 / keep)
        spec = {
            "selector": {
                "name": "expand",
                "anchors": {"name": "composite", "saliency": {"name": "cls_attention", "layer": 1}, **TOP},
                "rest": {"name": "composite", "saliency": {"name": "cls_attention", "layer": 2}, **TOP},
                "share": share,
                "wrap": wrap,
            },
            "budget": keep,
        }
        signals = {
            "vision.cls_attention[1]": (torch.arange(36) == anchor).float()[None, None],
            "vision.cls_attention[2]": torch.arange(36.0)[None, None],
        }
        return (
            scope.select(torch.ones(1, 36, 2), spec=spec, signals=signals, **{"grid": (6, 6), **more}).picks[0].tolist()
        )

    def test_an_anchor_brings_its_four_neighbours(self) -> None:
        assert self.keep(14)[:5] == [14, 13, 15, 8, 20]
        assert self.keep(14)[5:] == list(range(35, 20, -1))

    @pytest.mark.parametrize(("anchor", "wanted"), [(0, [0, 1, 6]), (11, [11, 10, 5, 17]), (35, [35, 34, 29])])
    def test_edges_have_fewer(self, anchor: int, wanted: list[int]) -> None:
        assert self.keep(anchor)[: len(wanted)] == wanted
        assert len(self.keep(anchor)) == 20

    @pytest.mark.parametrize(
        ("anchor", "wanted"), [(11, [11, 10, 12, 5, 17]), (2, [2, 1, 3, 0, 8]), (35, [35, 34, 29])]
    )
    def test_token_numbers_wrap_as_released(self, anchor: int, wanted: list[int]) -> None:
        assert self.keep(anchor, wrap=True)[: len(wanted)] == wanted

    def test_tokens_without_a_grid_have_no_neighbours(self) -> None:
        assert self.keep(14, grid=None) == [14, *range(35, 16, -1)]

    def test_neighbours_that_do_not_fit_are_given_up(self) -> None:
        assert self.keep(14, keep=3, share=1.0) == [14, 13, 15]

    def test_neighbours_are_of_the_same_image_and_tile(self, registry: scope.Registry) -> None:
        part = scope.Pruner("hiprune@8", registry=registry).parts["selector"]
        image, tile, row, col = torch.randint(0, 3, (4, 1, 90), generator=torch.Generator().manual_seed(0)) - 1
        valid = torch.rand(1, 90, generator=torch.Generator().manual_seed(1)) > 0.2
        tokens = VisualTokens.of(torch.ones(1, 90, 2), valid=valid, image=image, tile=tile, row=row, col=col)
        places = list(zip(*(plane[0].tolist() for plane in (valid, image, tile, row, col)), strict=True))
        anchors = valid[0].nonzero().flatten()
        for (down, right), found in zip(SIDES, part._neighbours(tokens, 0, anchors).tolist(), strict=True):
            for anchor, near in zip(anchors.tolist(), found, strict=True):
                of_image, of_tile, at, beside = places[anchor][1:]
                wanted = (True, of_image, of_tile, at + down, beside + right)
                assert near == (places.index(wanted) if at >= 0 and wanted in places else -1)

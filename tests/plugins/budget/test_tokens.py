"""`tokens`: exact counts, whatever the groups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.budget.cases import TILES, counts
from scope_core import Layout, Pruner


@given(
    TILES,
    st.integers(0, 700),
    st.sampled_from(["image", "tile", "total"]),
    st.sampled_from(["image", "tile", "prompt"]),
)
def test_tokens_keeps_exactly_that_many_of_every_unit(
    tiles: list[list[int]], keep: int, per: str, partition: str
) -> None:
    budget = {"name": "tokens", "keep": keep, "per": per, "if_short": "keep_all"}
    sizes = {"image": [sum(image) for image in tiles], "tile": [t for image in tiles for t in image]}
    sizes["total"] = [sum(sizes["image"])]
    assert sum(counts(budget, tiles, partition)) == sum(min(keep, size) for size in sizes[per])


class TestTiles:
    def test_floor(self) -> None:
        layout = Layout.of([[576, 576, 576], [576]])
        budget = {"name": "tokens", "keep": 640, "per": "image", "if_short": "keep_all"}
        exact = Pruner({"recipe": "fastervlm", "budget": budget}).plan(layout)
        floored = Pruner({"recipe": "fastervlm", "budget": {**budget, "tiles": "floor"}}).plan(layout)
        assert exact.counts == (214, 213, 213, 576)
        assert floored.counts == (213, 213, 213, 576)

    def test_frames_of_a_video_are_tiles(self) -> None:
        budget = {"name": "tokens", "keep": 44, "tiles": "floor"}
        plan = Pruner({"recipe": "scope@official", "budget": budget}).plan(Layout.of([[36] * 4, [36, 36]], videos=[0]))
        assert plan.counts == (11, 11, 11, 11, 22, 22)

    def test_a_share_that_no_tile_can_meet(self) -> None:
        spec = {"recipe": "fastervlm", "budget": {"name": "tokens", "keep": 20, "tiles": "floor"}}
        with pytest.raises(scope.BudgetError, match="image 0, tile 1 has 4 tokens"):
            Pruner(spec).plan(Layout.of([[16, 4]]))


def test_floor_that_leaves_nothing_of_a_tile_is_refused() -> None:
    pruner = Pruner({"recipe": "scope", "partition": "tile", "budget": {"name": "tokens", "keep": 2, "tiles": "floor"}})
    with pytest.raises(
        scope.BudgetError, match=r"2 tokens equally among 3 tiles, which leaves none for image 0, tile 0"
    ):
        pruner.plan(Layout.of([[4, 4, 4]]))

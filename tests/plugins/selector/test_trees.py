"""`trees`: tokens merged from frame to frame. Whole methods are tested against oracles in `test_video_merging`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from plugins.selector.cases import TOP_K
from scope_core import VisualTokens

A, B, C = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]


def tokens(rows: list[list[float]], **more: Any) -> VisualTokens:
    return VisualTokens.of(torch.tensor([rows]), grid=(3, 1, 2), saliency=torch.tensor([[6.0, 5, 4, 3, 2, 1]]), **more)


def trees(**options: Any) -> Any:
    selector = {**TOP_K, "saliency": "uniform", "similarity": "cosine"}
    return built(REGISTRY, "selector", {"name": "trees", "selector": selector, **options})


@pytest.mark.parametrize(
    ("link", "keep", "home"),
    [
        ("cell", 3, [0, 1, 0, 3, 0, 3]),
        ("cell", 2, [0, 1, 0, -1, 0, -1]),
        ("nearest", 2, [0, 1, 0, 0, 0, 0]),
        ("nearest", 4, [0, 1, 0, 0, 4, 5]),  # too few trees: the latest of equal links are cut
        ("nearest", 6, [0, 1, 2, 3, 4, 5]),
        ("nearest", 0, [-1] * 6),
    ],
)
def test_homes_and_weights_by_hand(link: str, keep: int, home: list[int]) -> None:
    """Place 0 shows a in all frames; place 1 shows b, then a twice."""
    found = trees(link=link).select(tokens([A, B, A, A, A, A]), [keep])
    assert found.assigned[0].tolist() == home
    assert sorted(found.picks[0].tolist()) == sorted({place for place in home if place >= 0})
    for place in set(home) - {-1}:
        mine = found.shares[0, found.assigned[0] == place]
        torch.testing.assert_close(mine, torch.full_like(mine, 1 / len(mine)))


def test_required_tokens_are_trees_of_their_own() -> None:
    required = torch.tensor([[False] * 4 + [True, False]])
    found = trees(link="cell").select(tokens([A, B, A, B, A, B], required=required), [2])
    assert found.picks[0].tolist() == [4, 0]
    assert found.assigned[0].tolist() == [0, -1, 0, -1, 4, -1]


def test_merged_and_single_tokens_share_the_count() -> None:
    """One tree of three tokens and three single tokens: of four, each kind gets its share."""
    part = trees(link="cell", span="all", of_merged={"name": "density_peaks", "merge": True})
    found = part.select(tokens([A, A, A, B, A, C]), [4])
    assert found.assigned[0].tolist() == [0, 1, 0, 3, 0, 5]
    assert part.select(tokens([A, A, A, B, A, C]), [1]).picks[0].tolist() == [1]


def test_a_selector_that_merges_weighs_trees_alike() -> None:
    """Two trees, of three tokens and of one, merged into one row: half of it is the tree of three."""
    part = trees(link="cell", selector={"name": "density_peaks", "merge": True})
    found = part.select(tokens([A, B, A, C, A, B]), [3])
    assert found.counts == (3,)
    home, shares = found.assigned[0], found.shares[0]
    of_trees = {place: shares[home == place].sum().item() for place in set(home.tolist())}
    assert sorted(of_trees.values()) == pytest.approx([1, 1, 2])  # four trees in three rows

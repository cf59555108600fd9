"""`quota`: shares of pieces by their saliency."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.cases import TOP
from scope_core import Layout
from scope_plugins.selector._shares import shares


@pytest.mark.parametrize("scale", [1e3, 1e-3])
def test_high_powers_of_scores_give_the_winner_all(scale: float) -> None:
    saliency = torch.tensor([[1.0, 1, 1, 1, 9, 9, 9, 9, 1, 1, 1, 1]]) * scale
    inner = {"name": "composite", **TOP}
    quota = {"name": "quota", "sharpness": 300.0, "partition": {"name": "chunks", "count": 3}, "selector": inner}
    spec = {"selector": {**quota, "saliency": "cls_attention"}, "budget": 4}
    got = scope.select(torch.randn(1, 12, 4), saliency=saliency, spec=spec)
    assert got.kept.tolist() == [[4, 5, 6, 7]]


class TestQuota:
    @given(
        st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0, 30.0]), st.integers(0, 6), st.integers(0, 6)), min_size=1),
        st.floats(0, 1),
    )
    def test_shares_add_up_within_their_bounds(self, pieces: list[tuple[float, int, int]], how_full: float) -> None:
        weights = [weight for weight, _, _ in pieces]
        least = [min(low, high) for _, low, high in pieces]
        most = [max(low, high) for _, low, high in pieces]
        total = round(sum(least) + how_full * (sum(most) - sum(least)))
        counts = shares(total, weights, least, most)
        assert sum(counts) == total
        assert all(low <= count <= high for low, count, high in zip(least, counts, most, strict=True))

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(1, 60), st.randoms())
    def test_shares_do_not_hang_on_rounding(self, exact: list[int], total: int, draw: Random) -> None:
        """Weights that are off by what float32 rounds give the shares of the whole numbers that they stand for."""
        near = [weight * (1 + draw.uniform(-1e-7, 1e-7)) for weight in exact]
        none, all_of = [0] * len(exact), [total] * len(exact)
        wanted = [total * weight // sum(exact) for weight in exact]
        first = sorted(range(len(exact)), key=lambda i: (-exact[i], i))
        for i in first[: total - sum(wanted)]:
            wanted[i] += 1
        assert shares(total, near, none, all_of) == wanted

    def test_still_tokens_count_as_one_however_long_they_stand_still(self) -> None:
        """Two places, one still, the other new in each frame: runs of 3 and 1 frames leave 4 and 2 of 6 tokens."""
        axes = torch.eye(8)
        tokens = torch.stack([axes[0], axes[1], axes[0], axes[2], axes[0], axes[3], axes[4], axes[5]])[None]
        trees = {"link": "cell", "threshold": 0.9, "span": "all"}
        inner = {"name": "trees", **trees, "selector": {"name": "composite", **TOP}}
        partition = {"name": "segment", "threshold": 0.2, "least": 1}
        quota = {
            "name": "quota",
            "partition": partition,
            "saliency": {"name": "tree_share", **trees},
            "of_piece": "sum",
        }
        spec = {"selector": {**quota, "selector": inner}, "budget": 3, "partition": "video"}
        got = scope.select(tokens, saliency=torch.ones(1, 8), spec=spec, grid=(4, 1, 2))
        assert got.tokens.frame[0, got.kept[0]].lt(3).sum() == 2

    def test_sharpness(self) -> None:
        tokens = torch.ones(1, 8, 2)
        saliency = torch.tensor([[3.0, 3, 3, 3, 1, 1, 1, 1]])

        def counts(sharpness: float) -> list[int]:
            spec = {
                "selector": {"name": "quota", "partition": {"name": "chunks", "count": 2}, "sharpness": sharpness},
                "budget": 4,
            }
            kept = scope.select(tokens, saliency=saliency, spec=spec).kept[0]
            return [int((kept < 4).sum()), int((kept >= 4).sum())]

        assert counts(0) == [2, 2]
        assert counts(1) == [3, 1]
        assert counts(8) == [4, 0]

    def test_pieces_may_be_tiles(self) -> None:
        spec = {"selector": {"name": "quota", "partition": "tile", "sharpness": 0}, "budget": 6}
        got = scope.select(
            torch.randn(1, 12, 3), saliency=torch.arange(12.0)[None], spec=spec, layout=Layout.of([[4, 4, 4]])
        )
        assert got.tokens.tile[0, got.kept[0]].tolist() == [0, 0, 1, 1, 2, 2]

    def test_negative_scores_are_refused(self) -> None:
        spec = {"selector": {"name": "quota", "partition": {"name": "chunks", "count": 2}}, "budget": 2}
        with pytest.raises(scope.SpecError, match=r"quota.*piece.*-1"):
            scope.select(torch.ones(1, 8, 2), saliency=-torch.ones(1, 8), spec=spec)

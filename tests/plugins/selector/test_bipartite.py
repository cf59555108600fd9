"""`bipartite`: rounds of matching, on tokens whose cosines are easy to see."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope


class TestBipartite:
    LINE = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0], [0, -1]])[None].double()

    def select(self, keep: int, **options: Any) -> scope.Selection:
        return scope.select(self.LINE, spec={"selector": {"name": "bipartite", **options}, "budget": keep})

    def test_the_even_one_of_the_most_alike_pair_goes(self) -> None:
        assert self.select(5).picks[0].tolist() == [1, 2, 3, 4, 5]
        assert self.select(4).picks[0].tolist() == [1, 3, 4, 5]

    def test_folding_says_where_each_token_went(self) -> None:
        got = self.select(4, fold=True)
        assert got.assigned is not None
        assert got.assigned[0].tolist() == [1, 1, 3, 3, 4, 5]
        assert got.gains[0].tolist() == [2, 2, 1, 1]

    def test_order_by_lines_up(self) -> None:
        spec = {"name": "bipartite", "order_by": "cls_attention"}
        saliency = torch.tensor([[6.0, 1, 5, 2, 4, 3]])  # the line 0 2 4 5 3 1: 0-2, 4-5, 3-1 are no pairs of alike
        got = scope.select(self.LINE, saliency=saliency, spec={"selector": spec, "budget": 5})
        cosines = self.LINE[0] @ self.LINE[0].T / self.LINE[0].norm(dim=1) / self.LINE[0].norm(dim=1)[:, None]
        best = {i: max(float(cosines[i, j]) for j in (2, 5, 1)) for i in (0, 4, 3)}
        gone = max(best, key=lambda i: best[i])
        assert sorted(got.picks[0].tolist()) == [i for i in range(6) if i != gone]

    def test_scores_are_the_distance_to_the_nearest_other_pick(self) -> None:
        got = self.select(2, per_round=1)
        unit = torch.nn.functional.normalize(self.LINE[0][got.picks[0]], dim=1)
        torch.testing.assert_close(got.scores[0], (1 - unit[0] @ unit[1]).expand(2).float())

    def test_similarities_that_overflow_are_refused_rather_than_compared(self) -> None:
        spec = {"selector": {"name": "bipartite", "similarity": "dot"}, "budget": 3}
        assert scope.select(self.LINE.float() * 1e15, spec=spec).counts == (3,)
        with pytest.raises(scope.PluginOutputError, match=r"similarity 'dot'.* gave (inf|-inf|nan) for image 0"):
            scope.select(self.LINE.float() * 1e25, spec=spec)

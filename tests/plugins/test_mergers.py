"""Mergers: which tokens go into which row, with which weight."""

from __future__ import annotations

from typing import Any

import oracles_encoder as oracle
import pytest
import torch

import scope_core as scope

TOP = {"coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}


class TestMergers:
    FEATURES = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0))
    SALIENCY = torch.rand(1, 12, generator=torch.Generator().manual_seed(1))

    def rows(self, merger: dict[str, Any], keep: int = 4, **more: Any) -> tuple[scope.Selection, torch.Tensor]:
        got = scope.select(
            self.FEATURES, saliency=self.SALIENCY, spec={**TOP, "merger": merger, "budget": keep}, **more
        )
        cls = torch.full_like(self.FEATURES, 7.0)
        return got, got.merge(self.FEATURES, cls)[0]

    def groups(self, kept: list[int]) -> dict[int, list[int]]:
        unit = self.FEATURES[0].double().numpy()
        found: dict[int, list[int]] = {token: [] for token in kept}
        for token in range(12):
            if token not in found:
                found[oracle.most_similar(unit, token, kept)].append(token)
        return found

    def test_average(self) -> None:
        got, rows = self.rows({"name": "average"})
        for row, (token, others) in zip(rows, self.groups(got.kept[0].tolist()).items(), strict=True):
            torch.testing.assert_close(row, self.FEATURES[0, [token, *others]].mean(0))

    def test_mean_add(self) -> None:
        got, rows = self.rows({"name": "mean_add"})
        for row, (token, others) in zip(rows, self.groups(got.kept[0].tolist()).items(), strict=True):
            mean = self.FEATURES[0, others].mean(0) if others else 0
            torch.testing.assert_close(row, self.FEATURES[0, token] + mean)

    @pytest.mark.parametrize("normalise", [False, True])
    def test_knn(self, normalise: bool) -> None:
        got, rows = self.rows({"name": "knn", "neighbours": 3, "normalise": normalise})
        x, a = self.FEATURES[0], self.SALIENCY[0]
        for row, token in zip(rows, got.kept[0].tolist(), strict=True):
            others = [j for j in range(12) if j != token]
            near = sorted(others, key=lambda j: -oracle.cosine(x[token].numpy(), x[j].numpy()))[:3]
            total = (a[near, None] * x[near]).sum(0)
            torch.testing.assert_close(row, x[token] + (total / a[near].sum() if normalise else total))

    def test_knn_of_more_neighbours_than_there_are(self) -> None:
        got, rows = self.rows({"name": "knn", "neighbours": 99})
        x, a = self.FEATURES[0], self.SALIENCY[0]
        for row, token in zip(rows, got.kept[0].tolist(), strict=True):
            torch.testing.assert_close(row, x[token] + (a[:, None] * x).sum(0) - a[token] * x[token])

    @pytest.mark.parametrize("normalise", [False, True])
    def test_residual(self, normalise: bool) -> None:
        got, rows = self.rows({"name": "residual", "normalise": normalise}, keep=5)
        assert got.counts == (4,)
        weights = self.SALIENCY[0].masked_fill(got.mask[0], 0)
        wanted = (weights[:, None] * self.FEATURES[0]).sum(0) / (weights.sum() if normalise else 1)
        torch.testing.assert_close(rows[4], wanted)
        torch.testing.assert_close(rows[:4], self.FEATURES[0, got.kept[0]])

    def test_keep_cls_around_residual_around_average(self) -> None:
        inner = {"name": "residual", "merger": {"name": "average"}}
        signals = {"vision.cls[-2]": torch.zeros_like(self.FEATURES)}
        got, rows = self.rows({"name": "keep_cls", "merger": inner}, keep=6, signals=signals)
        assert got.rows[0].tolist() == [-1, *got.kept[0].tolist(), -1]
        torch.testing.assert_close(rows[0], torch.full((5,), 7.0))
        torch.testing.assert_close(rows[1:5], self.rows({"name": "average"})[1])
        torch.testing.assert_close(rows[5], self.rows({"name": "residual"}, keep=5)[1][4])

    @pytest.mark.parametrize("merger", ["average", "mean_add", "knn"])
    def test_nothing_dropped_nothing_mixed_but_neighbours(self, merger: str) -> None:
        _, rows = self.rows({"name": merger, **({"neighbours": 0} if merger == "knn" else {})}, keep=12)
        torch.testing.assert_close(rows, self.FEATURES[0])

    @pytest.mark.parametrize("merger", ["average", "mean_add"])
    def test_only_one_stage_takes_tokens_in(self, merger: str) -> None:
        stages = [{"name": "composite", **TOP}, {"name": "composite", **TOP}]
        spec = {
            "selector": {"name": "chain", "stages": stages, "shares": [1, 1]},
            "merger": {"name": merger, "stage": 1},
            "budget": 4,
        }
        got = scope.select(self.FEATURES, saliency=self.SALIENCY, spec=spec)
        assert got.weights is not None
        assert got.stage is not None
        others = (got.weights[0] > 0).sum(1)
        by_token = dict(zip(got.picks[0].tolist(), got.stage[0].tolist(), strict=True))
        stage = [by_token[token] for token in got.rows[0].tolist()]
        assert all(int(n) == 1 for n, s in zip(others, stage, strict=True) if s == 0)
        assert sum(int(n) for n, s in zip(others, stage, strict=True) if s == 1) == 12 - 2

    def test_an_extra_row_needs_room(self) -> None:
        with pytest.raises(scope.BudgetError, match=r"residual.*adds 2 row"):
            self.rows({"name": "residual", "merger": "residual"}, keep=1)


@pytest.mark.parametrize("merger", ["average", "mean_add", "knn", "pool", "density_clusters", "residual"])
def test_padding_may_hold_anything(merger: str) -> None:
    """A weight of 0 does not keep NaN out of a sum."""
    features, saliency = torch.randn(1, 12, 5), torch.rand(1, 12)
    features[0, 0] = torch.nan
    valid = torch.arange(12)[None] > 0
    got = scope.select(features, saliency=saliency, valid=valid, spec={**TOP, "merger": merger, "budget": 6})
    assert bool(torch.isfinite(got.merge(features)).all())

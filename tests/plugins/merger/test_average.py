"""`average`: a row is the mean of a kept token and of those most similar to it."""

from __future__ import annotations

import torch

import scope_core as scope
from plugins.merger.cases import FEATURES, groups, merged


def test_by_the_formula() -> None:
    got, rows = merged({"name": "average"})
    for row, (token, others) in zip(rows, groups(got.kept[0].tolist()).items(), strict=True):
        torch.testing.assert_close(row, FEATURES[0, [token, *others]].mean(0))


def test_tokens_unlike_every_kept_one_are_not_merged() -> None:
    features = torch.tensor([[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]]], dtype=torch.float64)
    for least, members in ((None, 4), (0.5, 2), (-1.0, 4), (2.0, 1)):
        spec = {
            "recipe": "top_k_attention",
            "merger": {"name": "average", "least": least},
            "budget": 1,
            "at": "projected",
        }
        saliency = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
        selection = scope.select(features, saliency=saliency, spec=spec)
        assert selection.weights is not None
        assert int((selection.weights[0, 0] > 0).sum()) == members

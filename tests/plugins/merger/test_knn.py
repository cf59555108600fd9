"""`knn`: a row is a kept token plus its weighted nearest neighbours."""

from __future__ import annotations

import oracles_encoder as oracle
import pytest
import torch

from plugins.merger.cases import FEATURES, SALIENCY, merged


@pytest.mark.parametrize("normalise", [False, True])
def test_by_the_formula(normalise: bool) -> None:
    got, rows = merged({"name": "knn", "neighbours": 3, "normalise": normalise})
    x, a = FEATURES[0], SALIENCY[0]
    for row, token in zip(rows, got.kept[0].tolist(), strict=True):
        others = [j for j in range(12) if j != token]
        near = sorted(others, key=lambda j: -oracle.cosine(x[token].numpy(), x[j].numpy()))[:3]
        total = (a[near, None] * x[near]).sum(0)
        torch.testing.assert_close(row, x[token] + (total / a[near].sum() if normalise else total))


def test_more_neighbours_than_there_are() -> None:
    got, rows = merged({"name": "knn", "neighbours": 99})
    x, a = FEATURES[0], SALIENCY[0]
    for row, token in zip(rows, got.kept[0].tolist(), strict=True):
        torch.testing.assert_close(row, x[token] + (a[:, None] * x).sum(0) - a[token] * x[token])

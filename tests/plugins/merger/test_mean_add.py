"""`mean_add`: a row is a kept token plus the mean of those most similar to it."""

from __future__ import annotations

import torch

from plugins.merger.cases import FEATURES, groups, merged


def test_by_the_formula() -> None:
    got, rows = merged({"name": "mean_add"})
    for row, (token, others) in zip(rows, groups(got.kept[0].tolist()).items(), strict=True):
        mean = FEATURES[0, others].mean(0) if others else 0
        torch.testing.assert_close(row, FEATURES[0, token] + mean)

"""`average`: a row is the mean of a kept token and of those most similar to it."""

from __future__ import annotations

import torch

from plugins.merger.cases import FEATURES, groups, merged


def test_by_the_formula() -> None:
    got, rows = merged({"name": "average"})
    for row, (token, others) in zip(rows, groups(got.kept[0].tolist()).items(), strict=True):
        torch.testing.assert_close(row, FEATURES[0, [token, *others]].mean(0))

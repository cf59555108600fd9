"""`residual`: one more row, the weighted sum of all dropped tokens."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from plugins.merger.cases import FEATURES, SALIENCY, merged


@pytest.mark.parametrize("normalise", [False, True])
def test_by_the_formula(normalise: bool) -> None:
    got, rows = merged({"name": "residual", "normalise": normalise}, keep=5)
    assert got.counts == (4,)
    weights = SALIENCY[0].masked_fill(got.mask[0], 0)
    wanted = (weights[:, None] * FEATURES[0]).sum(0) / (weights.sum() if normalise else 1)
    torch.testing.assert_close(rows[4], wanted)
    torch.testing.assert_close(rows[:4], FEATURES[0, got.kept[0]])


def test_an_extra_row_needs_room() -> None:
    with pytest.raises(scope.BudgetError, match=r"residual.*adds 2 row"):
        merged({"name": "residual", "merger": "residual"}, keep=1)

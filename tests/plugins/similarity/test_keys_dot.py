"""`keys_dot`: dot products of keys, their mean over heads or all heads in a row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.cases import pairwise
from plugins.similarity.cases import some_tokens
from scope_core import VisualTokens


@pytest.mark.parametrize("heads", ["mean", "concat"])
def test_by_the_formula(heads: str) -> None:
    tokens = some_tokens()
    keys = tokens.signals["vision.keys[-2]"][0].numpy()  # (H, N, C)
    got = pairwise({"name": "keys_dot", "heads": heads}, tokens)[0]
    for i in range(12):
        for j in range(12):
            apart = [float(keys[h, i] @ keys[h, j]) for h in range(3)]
            want = float(keys[:, i].mean(0) @ keys[:, j].mean(0)) if heads == "mean" else sum(apart)
            assert got[i, j] == pytest.approx(want, abs=1e-12)


def test_by_hand() -> None:
    """Two heads of width 1: the keys of the tokens are (1, 3) and (2, -2)."""
    keys = torch.tensor([[[[1.0], [2.0]], [[3.0], [-2.0]]]])
    tokens = VisualTokens.of(torch.ones(1, 2, 2), signals={"vision.keys[-2]": keys})
    np.testing.assert_array_equal(pairwise("keys_dot", tokens)[0], [[4, 0], [0, 0]])
    np.testing.assert_array_equal(pairwise({"name": "keys_dot", "heads": "concat"}, tokens)[0], [[10, -4], [-4, 8]])

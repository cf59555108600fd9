"""`row_softmax`: rows of another similarity."""

from __future__ import annotations

import numpy as np
import oracles
import oracles_sets
import pytest
import torch

from plugins.cases import pairwise
from plugins.similarity.cases import some_tokens
from scope_core import VisualTokens


@pytest.mark.parametrize("joint", [False, True])
def test_by_the_formula(joint: bool) -> None:
    tokens = some_tokens()
    want = oracles_sets.softmax_rows(oracles.cosine_matrix(tokens.features[0].numpy()), 0.3) / (12 if joint else 1)
    got = pairwise({"name": "row_softmax", "of": "cosine", "temperature": 0.3, "joint": joint}, tokens)
    np.testing.assert_allclose(got[0], want, atol=1e-14)
    assert got.sum() == pytest.approx(1 if joint else 12)
    valid = torch.tensor([[True] * 9 + [False] * 3])
    padded = VisualTokens.of(tokens.features, valid=valid)
    part = pairwise({"name": "row_softmax", "temperature": 0.3, "joint": joint}, padded)
    want = oracles_sets.softmax_rows(oracles.cosine_matrix(tokens.features[0, :9].numpy()), 0.3) / (9 if joint else 1)
    np.testing.assert_allclose(part[0, :9, :9], want, atol=1e-14)
    assert (part[0, 9:] == 0).all()

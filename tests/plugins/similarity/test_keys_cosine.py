"""`keys_cosine`: cosines of keys, their mean over heads or all heads in a row."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from fakes import built

from plugins.cases import REGISTRY, pairwise
from plugins.similarity.cases import some_tokens


@pytest.mark.parametrize("heads", ["mean", "concat"])
def test_by_the_formula(heads: str) -> None:
    tokens = some_tokens()
    keys = tokens.signals["vision.keys[-2]"][0].numpy()  # (H, N, C)
    vectors = keys.mean(0) if heads == "mean" else keys.transpose(1, 0, 2).reshape(12, -1)
    got = pairwise({"name": "keys_cosine", "heads": heads}, tokens)[0]
    np.testing.assert_allclose(got, oracles.cosine_matrix(vectors), atol=1e-14)
    assert (got == got.T).all()
    assert (got.diagonal() == 1).all()


def test_the_layer_is_part_of_the_signal() -> None:
    assert built(REGISTRY, "similarity", {"name": "keys_cosine", "layer": -1}).needs == {"vision.keys[-1]"}

"""`decoder_keys_cosine`: cosines of all heads' keys in a row."""

from __future__ import annotations

import numpy as np
import oracles
import torch
from fakes import built

from plugins.cases import REGISTRY, pairwise
from scope_core import VisualTokens


def test_by_the_formula() -> None:
    keys = torch.randn(1, 2, 12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = VisualTokens.of(torch.ones(1, 12, 3).double(), signals={"decoder.keys[4]": keys})
    got = pairwise({"name": "decoder_keys_cosine", "layer": 4}, tokens)[0]
    np.testing.assert_allclose(got, oracles.cosine_matrix(keys[0].transpose(0, 1).flatten(1).numpy()), atol=1e-14)
    assert built(REGISTRY, "similarity", {"name": "decoder_keys_cosine", "layer": 2}).needs == {"decoder.keys[2]"}

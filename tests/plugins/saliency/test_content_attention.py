"""`content_attention`: queries and keys before the rotary embedding."""

from __future__ import annotations

import numpy as np
import oracles_adaptive as oracle
import torch

from plugins.cases import score
from scope_core import VisualTokens


def test_groups_of_heads_padding_and_shorter_texts() -> None:
    queries, keys = torch.randn(1, 4, 5, 8, dtype=torch.float64), torch.randn(1, 2, 11, 8, dtype=torch.float64)
    valid = torch.arange(11)[None] < 9
    padded = torch.cat([queries, torch.zeros(1, 4, 2, 8, dtype=torch.float64)], 2)
    given = {"decoder.plain_queries[7]": padded, "decoder.plain_keys[7]": keys}
    tokens = VisualTokens.of(torch.ones(1, 11, 2), valid=valid, signals=given)
    last = score({"name": "content_attention", "layer": 7}, tokens)[0]
    np.testing.assert_allclose(
        last[:9], oracle.content_attention(queries[0].numpy(), keys[0, :, :9].numpy()), rtol=1e-9
    )
    every = score({"name": "content_attention", "layer": 7, "queries": "all"}, tokens)[0, :9]
    each = [oracle.content_attention(queries[0, :, : row + 1].numpy(), keys[0, :, :9].numpy()) for row in range(5)]
    np.testing.assert_allclose(every, np.mean(each, 0), rtol=1e-9)
    nothing = {**given, "decoder.plain_queries[7]": torch.zeros(1, 4, 3, 8, dtype=torch.float64)}
    assert not score(
        {"name": "content_attention", "layer": 7}, VisualTokens.of(torch.ones(1, 11, 2), signals=nothing)
    ).any()

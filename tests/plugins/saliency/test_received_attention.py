"""`received_attention`: the oracle's, pooled over heads."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from fakes import built

import scope_core as scope
from plugins.saliency.cases import WIDTH, pooled, queries_and_keys, tokens_with


@pytest.mark.parametrize("heads", ["sum", "mean", "max"])
def test_by_the_formula(heads: str, registry: scope.Registry) -> None:
    q, k = queries_and_keys()
    attention = oracles.received_attention(q, k, 1, WIDTH**-0.5)
    source = built(registry, "saliency", {"name": "received_attention", "heads": heads})
    assert source.needs == {"vision.received_attention[-2]"}
    np.testing.assert_allclose(source.score(tokens_with(received_attention=attention))[0], pooled(attention, heads))

"""`received_attention`: the oracle's, pooled over heads."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
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


def test_heads_first_reads_another_signal_and_in_float32_either(registry: scope.Registry) -> None:
    """The order of two means is a matter of rounding, so half precision needs the signal rounded in that order."""
    q, k = queries_and_keys()
    attention = oracles.received_attention(q, k, 1, WIDTH**-0.5)
    source = built(registry, "saliency", {"name": "received_attention", "heads": "mean", "first": "heads"})
    assert source.needs == {"vision.mean_attention[-2]"}
    tokens = tokens_with(received_attention=attention, mean_attention=2 * attention.mean(0))
    np.testing.assert_allclose(source.score(tokens)[0], 2 * attention.mean(0))
    given = tokens_with(received_attention=attention)
    np.testing.assert_allclose(source.score(given)[0], attention.mean(0))
    with pytest.raises(scope.SignalError, match="mean_attention"):
        source.score(given.to_dtype(torch.bfloat16))
    with pytest.raises(scope.SpecError, match="set heads: mean"):
        scope.Pruner({"recipe": "scope@no_cls", "saliency": {"name": "received_attention", "first": "heads"}})

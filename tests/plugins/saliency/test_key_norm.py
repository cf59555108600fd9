"""`key_norm`: p-norms of keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scope_core as scope
from plugins.cases import score
from scope_core import VisualTokens


def test_key_norm() -> None:
    keys = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = VisualTokens.of(torch.ones(2, 5, 2, dtype=torch.float64), signals={"decoder.keys[2]": keys})
    for order in (1.0, 2.0, 3.0):
        each = (keys.abs() ** order).sum(3) ** (1 / order)  # (B, H, N)
        for heads, want in {
            "concat": (keys.abs() ** order).sum((1, 3)) ** (1 / order),
            "mean": each.mean(1),
            "sum": each.sum(1),
        }.items():
            got = score({"name": "key_norm", "of": "decoder.keys[2]", "order": order, "heads": heads}, tokens)
            np.testing.assert_allclose(got, want)
    with pytest.raises(scope.SpecError, match="is not a signal name"):
        scope.Pruner({"recipe": "scope", "saliency": {"name": "key_norm", "of": "Keys!"}})


@pytest.mark.parametrize("heads", ["concat", "mean", "sum"])
def test_keys_whose_squares_are_0_in_float32(heads: str) -> None:
    keys = torch.randn(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    spec = {"name": "key_norm", "of": "decoder.keys[2]", "heads": heads}
    small, usual = (
        score(spec, VisualTokens.of(torch.ones(1, 5, 2), signals={"decoder.keys[2]": keys * size}))
        for size in (1e-25, 1.0)
    )
    np.testing.assert_allclose(small / 1e-25, usual, rtol=1e-5)

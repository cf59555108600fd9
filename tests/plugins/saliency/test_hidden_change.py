"""`hidden_change`: distance between two layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scope_core as scope
from plugins.cases import score
from scope_core import Pruner, VisualTokens


def test_is_the_distance() -> None:
    before, after = torch.randn(2, 2, 9, 5, dtype=torch.float64)
    tokens = VisualTokens.of(before, signals={"decoder.hidden[1]": before, "decoder.hidden[3]": after})
    got = score({"name": "hidden_change", "layer": 3, "before": 1}, tokens)
    np.testing.assert_allclose(got, np.sqrt(((after - before).numpy() ** 2).sum(2)), rtol=1e-12)
    assert Pruner("v2drop").needs == {"decoder.hidden[2]", "decoder.hidden[3]"}


def test_layers_must_rise() -> None:
    with pytest.raises(scope.SpecError, match="below layer"):
        Pruner({"saliency": {"name": "hidden_change", "layer": 2, "before": 2}, "budget": 4})

"""`text_information`: the bits of all heads, from the signal of one layer."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_adds_up_heads() -> None:
    bits = torch.tensor([[0.5, 0.25], [0.0, 2.0]])
    tokens = VisualTokens.of(torch.ones(2, 3, 2), signals={"decoder.text_information[3]": bits})
    part = built(REGISTRY, "statistic", {"name": "text_information", "layer": 3})
    assert part.measure(tokens).tolist() == [0.75, 2.0]


def test_needs_the_inside_of_a_language_model() -> None:
    spec = {"recipe": "random", "budget": {"name": "measured", "statistic": "text_information"}}
    with pytest.raises(scope.SignalError, match=r"needs decoder\.text_information\[0\]"):
        scope.select(torch.ones(1, 3, 2), spec=spec)

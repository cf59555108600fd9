"""`value_relevance`: padding, seeds, and images without text; the recipe's test has the oracle on photographs."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def given(valid: torch.Tensor | None = None) -> tuple[VisualTokens, dict[str, torch.Tensor]]:
    make = torch.Generator().manual_seed(0)
    values, text = (torch.randn(2, 2, count, 4, generator=make, dtype=torch.float64) for count in (9, 4))
    text[1] = 0  # the second image has no text after it
    signals = {
        "decoder.values[3]": values,
        "decoder.text_values[3]": text,
        "decoder.prompt_values[3]": torch.cat([values, text], 2),
    }
    return VisualTokens.of(torch.ones(2, 9, 2).double(), valid=valid, signals=signals), signals


def test_seeds_and_padding(registry: scope.Registry) -> None:
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[0, 6:] = False
    tokens, signals = given(valid)
    values, text, prompt = (signal[0].numpy() for signal in signals.values())
    for seeds in (0.01, 0.5):
        part = built(registry, "saliency", {"name": "value_relevance", "layer": 3, "seeds": seeds})
        got = part.score(tokens)
        wanted = oracle.value_relevance(values[:, :6], text, prompt, seeds)
        np.testing.assert_allclose(got[0, :6].numpy(), wanted, atol=1e-12)
        assert not got[1].any()
    bare = built(registry, "saliency", {"name": "value_relevance", "layer": 3, "seeds": 0}).score(tokens)
    assert not torch.allclose(bare[0], got[0])

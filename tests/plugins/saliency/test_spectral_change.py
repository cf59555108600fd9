"""`spectral_change`: detail that a layer adds or removes."""

from __future__ import annotations

import numpy as np
import oracles_adaptive as oracle
import torch

from plugins.cases import score
from scope_core import VisualTokens


def test_is_the_sum_over_frequencies() -> None:
    before, after = torch.randn(2, 1, 36, 4, dtype=torch.float64)
    given = {"decoder.hidden[0]": before, "decoder.hidden[1]": after}
    got = score({"name": "spectral_change", "layer": 1}, VisualTokens.of(before, grid=(6, 6), signals=given))
    np.testing.assert_allclose(got[0], oracle.spectral_change(before[0].numpy(), after[0].numpy(), 6), atol=1e-9)


def test_flat_images_and_single_tokens_are_neutral() -> None:
    for side in (1, 4):
        flat = torch.full((1, side * side, 3), 0.3)
        given = {"decoder.hidden[0]": flat, "decoder.hidden[1]": flat}
        got = score({"name": "spectral_change", "layer": 1}, VisualTokens.of(flat, grid=(side, side), signals=given))
        assert np.isfinite(got).all()
        assert np.ptp(got) < 0.2

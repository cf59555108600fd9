"""`information_gain`: attention of the question against what any text would get."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.cases import score
from scope_core import VisualTokens


def gains(attention: torch.Tensor, **options: object) -> np.ndarray:
    tokens = VisualTokens.of(torch.ones(*attention.shape[::3], 2), signals={"decoder.text_attention[2]": attention})
    return score({"name": "information_gain", "layer": 2, **options}, tokens)


def test_what_the_prior_explains_is_worth_nothing() -> None:
    """Two tokens get twice the attention; of one, the first text token says so already."""
    first, last = [0.4, 0.2, 0.2, 0.2], [0.4, 0.4, 0.1, 0.1]
    rows = torch.tensor([first, last], dtype=torch.float64)[None, None]
    got = gains(rows, queries="last")[0]
    assert got[0] == pytest.approx(0, abs=1e-8)
    assert got[1] == pytest.approx(0.4 * np.log(2), abs=1e-8)
    mean = np.mean([first, last], 0)
    np.testing.assert_allclose(gains(rows)[0], mean * np.log(mean / first), atol=1e-8)
    padded = torch.cat([rows, torch.zeros(1, 1, 3, 4)], 2)  # a shorter text beside longer ones
    np.testing.assert_allclose(gains(padded, queries="last")[0], got, atol=1e-12)
    np.testing.assert_allclose(gains(padded)[0], gains(rows)[0], atol=1e-12)


def test_no_text_no_gain() -> None:
    assert not gains(torch.zeros(1, 2, 0, 4, dtype=torch.float64)).any()
    assert not gains(torch.zeros(1, 2, 3, 4, dtype=torch.float64)).any()

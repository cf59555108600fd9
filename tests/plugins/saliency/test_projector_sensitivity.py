"""`projector_sensitivity`: a signal as it is."""

from __future__ import annotations

import numpy as np
import torch

from plugins.cases import score
from scope_core import VisualTokens


def test_is_the_signal() -> None:
    given = torch.tensor([[0.5, 0.0, 2.0]])
    got = score("projector_sensitivity", VisualTokens.of(torch.ones(1, 3, 2), signals={"projector.sensitivity": given}))
    np.testing.assert_array_equal(got, given)

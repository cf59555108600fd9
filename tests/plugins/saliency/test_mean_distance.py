"""`mean_distance`: by hand."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_cosine_distance_from_the_mean_of_valid_tokens() -> None:
    rows = torch.tensor(
        [[[3.0, 0.0], [0.0, 3.0], [0.0, 0.0], [9.0, 9.0]], [[1.0, 0.0], [-1.0, 0.0], [5.0, 5.0], [5.0, 5.0]]]
    )
    valid = torch.tensor([[True, True, True, False], [True, True, False, False]])
    score = built(REGISTRY, "saliency", "mean_distance").score(VisualTokens.of(rows, valid=valid))
    half = 1 - 0.5**0.5
    torch.testing.assert_close(score[0], torch.tensor([half, half, 1.0, 0.0]))  # a token of length 0 has a cosine of 0
    assert score[1].tolist() == [1, 1, 0, 0]  # so has a mean of length 0

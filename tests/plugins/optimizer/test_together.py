"""Properties that several optimizers share."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import random_case

import scope_core as scope


@pytest.mark.parametrize("optimizer", ["stochastic", {"name": "k_per_step", "step": 3}])
def test_required_tokens_come_first(optimizer: Any) -> None:
    features, saliency = random_case(1, 12)
    spec = {
        "recipe": "scope",
        "optimizer": optimizer,
        "budget": 5,
        "constraints": [{"name": "cells", "keep": [[2, 3], [0, 1]]}],
    }
    got = scope.select(features, saliency=saliency, grid=(3, 4), spec=spec)
    assert set(got.picks[0, :2].tolist()) == {1, 11}
    assert got.counts == (5,)

"""`compact`: positions are left to the model."""

from __future__ import annotations

import torch
from fakes import built

import scope_core as scope


def test_the_model_numbers_the_shortened_prompt(registry: scope.Registry) -> None:
    full = torch.arange(6)[None]
    assert built(registry, "position", "compact").position_ids(full, full[:, ::2], torch.ones(1, 3)) is None

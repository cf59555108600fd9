"""`original`: every remaining token keeps its position in the full prompt."""

from __future__ import annotations

import torch
from fakes import built

import scope_core as scope


def test_positions_are_those_of_the_full_prompt(registry: scope.Registry) -> None:
    """Two prompts, numbered from 0 and from 10; of the second, two tokens remain, and one place is padding."""
    policy = built(registry, "position", "original")
    full = torch.tensor([[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]])
    index = torch.tensor([[0, 2, 4], [1, 4, 0]])
    kept = torch.tensor([[True, True, True], [True, True, False]])
    assert policy.position_ids(full, index, kept).tolist() == [[0, 2, 4], [11, 14, 0]]
    assert policy.gapped

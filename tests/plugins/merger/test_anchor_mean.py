"""`anchor_mean`: which anchor takes in which tokens, by hand; fastvid's oracle tests whole videos."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core import Selection, VisualTokens


def test_each_frame_with_anchors_takes_in_the_scene() -> None:
    """Two scenes of two frames; anchors in the second frame of the first. One pick of step 0 is in no mean."""
    east, north = [1.0, 0.0], [0.0, 1.0]
    x = torch.tensor([[east, north, east, north, *[[-1.0, -1.0]] * 4]])
    tokens = VisualTokens.of(x, grid=(4, 1, 2))
    picks, nan = torch.tensor([[0, 2, 3, 6]]), torch.full((1, 4), torch.nan)
    selection = Selection(picks, nan, nan, tokens, stage=torch.tensor([[0, 1, 1, 0]]))
    spec = {
        "name": "anchor_mean",
        "partition": {"name": "segment", "threshold": 0.5, "least": 1},
        "share": 0.25,
        "stage": 1,
    }
    weights = built(REGISTRY, "merger", spec).weights(selection)[0]
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    half, third = 1 / 2, 1 / 3
    assert weights[0].tolist() == [1, *[0] * 7]
    torch.testing.assert_close(weights[1], torch.tensor([0, 0, 1.0, 0, 0, 0, 0, 0]))  # itself alone: half and half
    torch.testing.assert_close(
        weights[2], torch.tensor([0, (1 - third) * half, 0, third + (1 - third) * half, 0, 0, 0, 0])
    )
    assert weights[3].tolist() == [*[0] * 6, 1, 0]


def test_a_step_needs_a_chain() -> None:
    with pytest.raises(scope.SpecError, match="the selector has no steps; omit `stage`, or use 'chain'"):
        scope.select(
            torch.randn(1, 8, 2),
            spec={"recipe": "floc", "merger": {"name": "anchor_mean", "stage": 0}, "budget": 4},
            grid=(2, 2, 2),
        )

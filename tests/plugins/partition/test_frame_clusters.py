"""`frame_clusters`: runs of frames of one cluster."""

from __future__ import annotations

import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


@pytest.mark.parametrize(("share", "wanted"), [(0.25, [0, 0, 0, 1, 1, 1, 2, 2]), (0.01, [0] * 8), (1, list(range(8)))])
def test_a_scene_that_comes_back_is_a_run_of_its_own(share: float, wanted: list[int]) -> None:
    here, there = [[0.0, 0.0], [0.1, 0.0], [0.0, 0.2]], [[5.0, 5.0], [5.1, 5.0], [5.0, 5.3]]
    frames = torch.tensor([*here, *there, [0.1, 0.1], [0.2, 0.0]])
    tokens = VisualTokens.of(frames.repeat_interleave(3, 0)[None], grid=(8, 1, 3))
    part = built(REGISTRY, "partition", {"name": "frame_clusters", "share": share, "neighbours": 2})
    assert part.label(tokens, [4])[0].view(8, 3)[:, 0].tolist() == wanted


def test_equal_frames_are_cut_at_the_start() -> None:
    flat = VisualTokens.of(torch.full((1, 12, 3), 0.3), grid=(6, 1, 2))
    part = built(REGISTRY, "partition", {"name": "frame_clusters", "share": 0.34})
    assert part.label(flat, [1])[0].view(6, 2)[:, 0].tolist() == [0, 1, 2, 3, 3, 3]

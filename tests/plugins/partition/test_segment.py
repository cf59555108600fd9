"""`segment`: runs of frames, cut where their means are least alike."""

from __future__ import annotations

import oracles_video as oracle
import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from plugins.recipes.test_video_methods import VIDEOS, clip
from scope_core import SpecError, VisualTokens, select


@pytest.mark.parametrize("shape", VIDEOS, ids=str)
def test_are_those_of_the_papers(shape: tuple[int, int, int]) -> None:
    video = clip(*shape)
    tokens = VisualTokens.of(torch.tensor(video).reshape(1, -1, 12), grid=shape)
    for threshold, least in ((0.9, 8), (0.9, 1), (-1.0, 1), (-1.0, 3), (2.0, 1)):
        part = built(REGISTRY, "partition", {"name": "segment", "threshold": threshold, "least": least})
        labels = part.label(tokens, [1])[0].view(shape[0], -1)
        assert labels[:, 0].tolist() == oracle.segments(list(video), threshold, least)
        assert bool((labels == labels[:, :1]).all())


def test_equal_frames_are_cut_at_the_start() -> None:
    flat = VisualTokens.of(torch.full((1, 12, 3), 0.3), grid=(6, 1, 2))
    part = built(REGISTRY, "partition", {"name": "segment", "least": 3})
    assert part.label(flat, [1])[0].tolist() == [0, 0, 1, 1, *[2] * 8]


def test_is_no_partition_of_a_whole_spec() -> None:
    with pytest.raises(SpecError, match=r"selector: \{name: quota, partition: segment\}"):
        select(torch.ones(1, 4, 2), spec={"recipe": "floc", "partition": "segment", "budget": 2})

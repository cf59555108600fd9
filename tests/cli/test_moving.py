"""What moves in a video, and the share of it that kept tokens cover."""

from __future__ import annotations

import pytest
import torch

from scope_core import Selection, VisualTokens
from scope_core.cli.moving import changed, covered

AXES = torch.eye(4)
STILL, FIRST, SECOND, THIRD = AXES


def video(frames: int = 3) -> VisualTokens:
    """Frames of a still token and one that is another each time."""
    things = [FIRST, SECOND, THIRD][:frames]
    return VisualTokens.of(torch.cat([torch.stack([STILL, thing]) for thing in things])[None], grid=(frames, 1, 2))


def kept(tokens: VisualTokens, *picks: int) -> Selection:
    index = torch.tensor([picks], dtype=torch.int64)
    return Selection(index, torch.ones(1, len(picks)), torch.ones(1, len(picks)), tokens)


def test_tokens_unlike_that_at_their_place_have_changed() -> None:
    assert changed(video(), 0.8).tolist() == [[False, False, False, True, False, True]]


def test_images_and_unequal_frames_have_no_changes() -> None:
    assert changed(VisualTokens.of(torch.randn(1, 4, 3), grid=(2, 2)), 0.8) is None
    for frames in ([0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]):  # also of a number that two frames could share
        uneven = VisualTokens.of(torch.randn(1, len(frames), 3), frame=torch.tensor([frames]))
        assert changed(uneven, 0.8) is None


@pytest.mark.parametrize(("picks", "share"), [((0,), 0.0), ((3,), 0.5), ((3, 5), 1.0), ((1, 3), 0.5), ((), 0.0)])
def test_share_of_changed_tokens_that_are_covered(picks: tuple[int, ...], share: float) -> None:
    tokens = video()
    assert covered(kept(tokens, *picks), tokens, changed(tokens, 0.8), 0.8) == [share]


def test_nothing_moves_and_other_tokens_have_no_share() -> None:
    tokens = video()
    still = torch.zeros(1, 6, dtype=torch.bool)
    assert covered(kept(tokens, 0), tokens, still, 0.8) == [None]
    assert covered(kept(video(2), 0), tokens, changed(tokens, 0.8), 0.8) == [None]

"""`window_start`: every n-th frame, of a video or of images that are frames."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_every_nth_frame_however_frames_are_given() -> None:
    number = torch.arange(14)[None] // 2  # seven frames of two tokens, the last one missing
    valid = number < 6
    part = built(REGISTRY, "constraint", {"name": "window_start", "window": 3})
    for plane in ("frame", "image"):
        tokens = VisualTokens.of(
            torch.ones(1, 14, 2), valid=valid, **{"image": torch.zeros_like(number), plane: number}
        )
        assert part.must_keep(tokens)[0].nonzero().flatten().tolist() == [0, 1, 6, 7]

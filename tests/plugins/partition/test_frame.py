"""`frame`: each frame is selected from by itself, as planned."""

from __future__ import annotations

import torch

import scope_core as scope


def test_tokens_are_selected_frame_by_frame_as_planned() -> None:
    torch.manual_seed(0)
    features = torch.randn(3 * 20, 8)
    budget = {"name": "tokens", "keep": 10, "per": "video"}
    selection = scope.select(
        features, spec={"recipe": "divprune", "budget": budget, "partition": "frame"}, grid=(3, 4, 5)
    )
    alone = [scope.select(features[i * 20 :][:20], spec=f"divprune@{n}", grid=(4, 5)) for i, n in enumerate([4, 3, 3])]
    want = [number * 20 + int(k) for number, frame in enumerate(alone) for k in frame.kept[0] if k >= 0]
    assert sorted(selection.kept[selection.kept >= 0].tolist()) == want

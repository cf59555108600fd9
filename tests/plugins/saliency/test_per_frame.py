"""`per_frame`: each frame as if it were an image."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_is_the_source_on_each_frame_alone() -> None:
    x = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    frame = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2], [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 0, 0]])
    valid = torch.arange(12) < torch.tensor([[12], [10]])
    of = {"name": "scaled", "of": "feature_norm"}
    got = built(REGISTRY, "saliency", {"name": "per_frame", "of": of}).score(
        VisualTokens.of(x, frame=frame, valid=valid)
    )
    alone = built(REGISTRY, "saliency", of)
    for group in range(2):
        for number in range(3):
            inside = (frame[group] == number) & valid[group]
            wanted = alone.score(VisualTokens.of(x[group, inside]))[0]
            torch.testing.assert_close(got[group, inside], wanted)
    assert not got[~valid].any()

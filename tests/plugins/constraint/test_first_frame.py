"""`first_frame`: the first frames of a prompt."""

from __future__ import annotations

from typing import Any

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_first_frames() -> None:
    image = torch.tensor([[3, 3, 4, 4, 5, 5, -1]])
    tile = torch.tensor([[0, 1, 0, 0, 0, 0, -1]])
    valid = image >= 0
    tokens = VisualTokens.of(torch.ones(1, 7, 2), image=image, tile=tile, valid=valid)

    def kept(**options: Any) -> list[int]:
        mask = built(REGISTRY, "constraint", {"name": "first_frame", **options}).must_keep(tokens)
        places: list[int] = mask[0].nonzero().flatten().tolist()
        return places

    assert kept() == [0, 1]
    assert kept(count=2) == [0, 1, 2, 3]
    assert kept(count=9) == [0, 1, 2, 3, 4, 5]
    assert kept(frame="tile") == [0]
    assert kept(frame="tile", count=2) == [0, 1]

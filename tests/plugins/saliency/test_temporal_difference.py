"""`temporal_difference`: cosine distance to the token at the same place of the frame before, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]


def score(registry: scope.Registry, rows: list[list[float]], **tokens: Any) -> list[float]:
    part = built(registry, "saliency", {"name": "temporal_difference", "frame": tokens.pop("frame", "image")})
    planes = {name: torch.tensor([plane]) for name, plane in tokens.items()}
    found: list[float] = part.score(VisualTokens.of(torch.tensor([rows]), **planes))[0].tolist()
    return found


def test_frames_are_images_and_places_are_rows_and_columns(registry: scope.Registry) -> None:
    """The second frame holds the same places in the opposite order."""
    got = score(
        registry,
        [EAST, NORTH, NORTH, WEST],
        image=[0, 0, 1, 1],
        row=[0, 0, 0, 0],
        col=[0, 1, 1, 0],
        tile=[0, 0, 0, 0],
    )
    assert got == [2, 2, 0, 2]  # west is opposite to east, of any length


def test_places_that_only_one_frame_has(registry: scope.Registry) -> None:
    got = score(registry, [EAST, NORTH, EAST], image=[0, 1, 1], row=[0, 0, 0], col=[0, 0, 1], tile=[0, 0, 0])
    assert got == [2, 1, 2]


def test_frames_may_be_tiles(registry: scope.Registry) -> None:
    planes = {"image": [0, 0, 0], "tile": [0, 1, 2], "row": [0, 0, 0], "col": [0, 0, 0]}
    assert score(registry, [EAST, NORTH, NORTH], frame="tile", **planes) == [2, 1, 0]
    assert score(registry, [EAST, NORTH, NORTH], **planes) == [2, 2, 2]


def test_without_places_tokens_are_compared_by_number(registry: scope.Registry) -> None:
    planes = {name: [-1, -1, -1, -1] for name in ("row", "col")}
    got = score(registry, [EAST, NORTH, NORTH, NORTH], image=[0, 0, 1, 1], tile=[0, 0, 0, 0], **planes)
    assert got == [2, 2, 1, 0]


def test_padding_is_in_no_frame() -> None:
    """A second tile that is larger than the first has tokens without one before them, in a batch as alone."""
    features = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    features[1, 6:] = 5.0  # padding may hold anything
    spec = {
        "recipe": "evs",
        "saliency": {"name": "temporal_difference", "frame": "tile"},
        "partition": "image",
        "constraints": [],
        "budget": 4,
    }
    valid = torch.arange(9) < torch.tensor([[9], [6]])
    layout = scope.Layout.of([[4, 5], [2, 4]])
    together = scope.select(features, spec=spec, valid=valid, layout=layout)
    single = scope.select(features[1:, :6], spec=spec, layout=scope.Layout.of([[2, 4]]))
    assert together.scores[1].tolist() == single.scores[0].tolist() == [2.0] * 4


@pytest.mark.parametrize("frame", ["image", "tile"])
def test_frames_compared_whole_are_compared_token_by_token(
    registry: scope.Registry, monkeypatch: pytest.MonkeyPatch, frame: str
) -> None:
    """Videos of regular frames, and the same with one number changed: a place, a frame, padding, a doubled token."""
    part = built(registry, "saliency", {"name": "temporal_difference", "frame": frame})
    draw = torch.Generator().manual_seed(3)
    sizes = []
    for case in range(60):
        token = torch.arange(12)
        planes = {"image": token // 4, "tile": token // 2 % 2, "row": token % 2, "col": token // 2 % 2}
        if frame == "tile" and case % 2:
            planes = {"image": token // 8, "tile": token // 4 % 2, "row": token // 2 % 2, "col": token % 2}
        name = ["image", "tile", "row", "col"][case % 4]
        if case >= 6:
            planes[name][int(torch.randint(12, (1,), generator=draw))] = case % 5 - 1
        features = torch.randn(1, 12, 8, generator=draw)
        tokens = VisualTokens.of(features, **{key: plane[None] for key, plane in planes.items()})
        sizes.append(part._frame_size(tokens, 0))
        whole = part.score(tokens)
        with monkeypatch.context() as patch:
            patch.setattr(type(part), "_frame_size", lambda *_: 0)
            assert torch.equal(whole, part.score(tokens)), planes
    assert sizes[1] == 4
    assert 0 in sizes

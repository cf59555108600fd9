"""`temporal_difference`: cosine distance to the token at the same place of the frame before, by hand."""

from __future__ import annotations

from typing import Any

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

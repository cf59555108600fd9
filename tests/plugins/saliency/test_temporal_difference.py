"""`temporal_difference`: cosine distance to the token at the same place of the frame before, by hand."""

from __future__ import annotations

from itertools import pairwise
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


def by_hand(tokens: VisualTokens, by_tile: bool) -> list[float]:
    """Scores of the first group, token by token."""
    frames: dict[tuple[int, int], dict[tuple[int, ...], int]] = {}
    first: dict[tuple[int, int], int] = {}
    planes = (getattr(tokens, name)[0].tolist() for name in ("image", "frame", "tile", "row", "col"))
    for token, (image, number, tile, row, col) in enumerate(zip(*planes, strict=True)):
        if image < 0:
            continue
        key = (image, tile if by_tile else number)
        frame = frames.setdefault(key, {})
        start = first.setdefault(key, tile if number else 0)
        place = (0 if by_tile else tile - start, row, col) if min(row, col) >= 0 else (len(frame),)
        frame[place] = token
    scores, order = [2.0] * tokens.shape[1], [frames[key] for key in sorted(frames)]
    for before, now in pairwise(order):
        for place, token in now.items():
            if place in before:
                one, other = tokens.features[0, token].double(), tokens.features[0, before[place]].double()
                scores[token] = float(1 - torch.cosine_similarity(one, other, dim=0))
    return scores


@pytest.mark.parametrize("frame", ["image", "tile"])
def test_frames_against_a_loop_over_tokens(registry: scope.Registry, frame: str) -> None:
    """Videos and images of regular frames; the same with one number changed: a place, a frame, padding, a double."""
    part = built(registry, "saliency", {"name": "temporal_difference", "frame": frame})
    draw = torch.Generator().manual_seed(3)
    compared = 0
    for case in range(120):
        token = torch.arange(12)
        planes = {"image": token // 4, "tile": token // 2 % 2, "row": token % 2, "col": token // 2 % 2}
        if case % 3 == 1:  # one video of frames with two tiles each
            planes |= {"image": token * 0, "frame": token // 4, "tile": token // 2}
        if case % 3 == 2:  # no places
            planes |= {"row": token * 0 - 1, "col": token * 0 - 1}
        name = ["image", "tile", "row", "col", "frame"][case % 5]
        if case >= 6 and name in planes:
            changed = int(torch.randint(12, (1,), generator=draw))
            planes[name][changed] = max(case % 5 - 1, 0 if name in ("tile", "frame") else -1)
        features = torch.randn(1, 12, 8, generator=draw)
        tokens = VisualTokens.of(features, **{key: plane[None] for key, plane in planes.items()})
        wanted = by_hand(tokens, frame == "tile")
        compared += sum(value != 2 for value in wanted)
        assert part.score(tokens)[0].tolist() == pytest.approx(wanted, abs=1e-6), planes
    assert compared > 300

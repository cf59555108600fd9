"""Who takes part: the label oracle above all, and objects on the grid of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import scope_core as scope
from bench import tiny
from scope_bench.accuracy.examples import Scene
from scope_bench.accuracy.methods import KeepsAll, methods_of, oracle_picks
from scope_core.tasks import Box, Example, Question

GRID = 6
CELLS = torch.stack(torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij"), -1).view(-1, 2)


def shares(*rectangles: tuple[int, int, int, int]) -> torch.Tensor:
    """(objects, 36) from rectangles of whole cells: top, left, bottom, right."""
    planes = torch.zeros(len(rectangles), GRID, GRID)
    for plane, (top, left, bottom, right) in zip(planes, rectangles, strict=True):
        plane[top:bottom, left:right] = 1
    return planes.flatten(1)


def test_objects_take_turns_and_the_smallest_begins() -> None:
    picks = oracle_picks(shares((0, 0, 3, 3), (5, 5, 6, 6)), CELLS, 4)
    assert picks[:2] == [35, 7]  # the single cell, then the middle of the 3 x 3
    assert set(picks[2:]) <= {0, 1, 2, 6, 8, 12, 13, 14}


def test_cells_that_are_hardly_covered_come_last() -> None:
    plane = torch.zeros(1, GRID * GRID)
    plane[0, 7], plane[0, 8], plane[0, 20] = 0.3, 1.0, 0.6
    assert oracle_picks(plane, CELLS, 3) == [8, 20, 7] or oracle_picks(plane, CELLS, 3) == [20, 8, 7]


def test_what_is_left_of_the_budget_is_spread() -> None:
    picks = oracle_picks(shares((0, 0, 1, 1)), CELLS, 6)
    rows = {pick // GRID for pick in picks[1:]}
    assert len(rows) >= 4
    assert oracle_picks(torch.zeros(1, 36), CELLS, 36) == list(range(36))


@given(
    st.integers(0, 36),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(5, 6), st.integers(5, 6)), max_size=5),
)
def test_picks_are_as_many_as_asked_and_objects_first(keep: int, rectangles: list[tuple[int, int, int, int]]) -> None:
    planes = shares(*rectangles)
    picks = oracle_picks(planes, CELLS, keep)
    assert len(picks) == len(set(picks)) == keep
    inside = planes.any(0)
    assert sum(bool(inside[pick]) for pick in picks) == min(keep, int(inside.sum()))


def brute_force(scene: Scene, grid: int) -> np.ndarray:
    """Share of each patch under each box, by painting the original pixels one by one."""
    width, height = scene.image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    planes = []
    for box in scene.example.objects:
        painted = np.zeros((height, width))
        painted[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = 1
        square = painted[top : top + side, left : left + side]
        step = side // grid
        planes.append(square.reshape(grid, step, grid, step).mean((1, 3)).ravel())
    return np.stack(planes)


@pytest.mark.parametrize("size", [(28, 28), (56, 28), (28, 84)])
def test_boxes_on_the_grid_follow_the_towers_crop(size: tuple[int, int]) -> None:
    boxes = tuple(
        Box("x", x, y, x + w, y + h)
        for x, y, w, h in ((0, 0, 10, 7), (7, 7, 14, 14), (20, 5, 3, 20), (0, 0, 28, 28), (26, 26, 2, 2))
    )
    example = Example("one", lambda: Image.new("RGB", size), (Question("q", "?", "x"),), boxes)
    scene = Scene(example, tiny.view)
    tokens = scope.VisualTokens.of(torch.zeros(1, 16, 4), grid=(4, 4))
    found = scene.shares(tokens)
    assert found.shape == (5, 16)
    assert found.numpy() == pytest.approx(brute_force(scene, 4), abs=0.02)


def test_no_grid_no_boxes_no_view() -> None:
    example = tiny.Squares(tiny.SquareSpec()).example(0, 0)
    flat = scope.VisualTokens.of(torch.zeros(1, 16, 4))
    square = scope.VisualTokens.of(torch.zeros(1, 16, 4), grid=(4, 4))
    assert Scene(example, tiny.view).shares(flat) is None
    assert Scene(example, None).shares(square) is None
    assert Scene(example, tiny.view).shares(square) is not None


def test_keeping_all_keeps_padding_out(registry: scope.Registry) -> None:
    valid = torch.tensor([[True, True, False, True], [True] * 4])
    selection = KeepsAll(registry).prune(scope.VisualTokens.of(torch.randn(2, 4, 3), valid=valid))
    assert selection.counts == (3, 4)
    assert selection.kept.tolist() == [[0, 1, 3, -1], [0, 1, 2, 3]]


def test_names_and_roles(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: scope\nbudget: 3\ncombiner: {name: product, alpha: 0.5}\n", encoding="utf-8")
    made = methods_of(["scope@99", str(path), "random"], [4, 2], tiny.registry())
    assert [(one.label, one.role) for one in made] == [
        ("scope@4", "spec"),
        ("scope@2", "spec"),
        ("mine@4", "spec"),
        ("mine@2", "spec"),
        ("random@4", "control"),
        ("random@2", "control"),
    ]
    assert made[2].facts["spec"]["combiner"]["alpha"] == 0.5
    assert made[2].facts["spec"]["budget"]["keep"] == 4

"""Default planes of tokens: calls of one shape share them, and none of them sees what another call wrote."""

from __future__ import annotations

import pytest
import torch

from scope_core import TokensError, VisualTokens
from scope_core.structures import planes as module
from scope_core.structures.planes import Planes, default_planes

CPU = torch.device("cpu")


def lists(planes: Planes) -> list[list[list[int]]]:
    return [plane.int().tolist() for plane in planes]


@pytest.mark.parametrize("grid", [None, (2, 3), [2, 3], (3, 2, 1)])
def test_planes_are_those_written_out(grid: tuple[int, ...] | None) -> None:
    side = (1, *grid) if grid is not None and len(grid) == 2 else grid
    places = [[t, r, c] for t in range(side[0]) for r in range(side[1]) for c in range(side[2])] if side else None
    frame, row, col = ([place[axis] for place in places or [[0, -1, -1]] * 6] for axis in range(3))
    for _ in range(2):  # made, then shared
        found = default_planes((2, 6), grid, CPU)
        assert lists(found) == [[[1] * 6] * 2, [[0] * 6] * 2, [row] * 2, [col] * 2, [frame] * 2, [[0] * 6, [1] * 6]]


def test_calls_of_one_shape_share_their_planes() -> None:
    one, other, third = (VisualTokens.of(torch.ones(1, 6, 2), grid=grid) for grid in ((2, 3), (2, 3), (3, 2)))
    assert one.row is other.row
    assert one.row is not third.row
    assert third.row.tolist() == [[0, 0, 1, 1, 2, 2]]


def test_planes_that_were_written_to_are_made_anew() -> None:
    first = VisualTokens.of(torch.ones(1, 6, 2), grid=(2, 3))
    first.row.add_(1)
    second = VisualTokens.of(torch.ones(1, 6, 2), grid=(2, 3))
    assert second.row.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert VisualTokens.of(torch.ones(1, 6, 2), grid=(2, 3)).row is second.row


def test_planes_of_inference_mode_serve_outside_of_it() -> None:
    with torch.inference_mode():
        inside = VisualTokens.of(torch.ones(1, 35, 2), grid=(5, 7))
    assert not inside.row.is_inference()
    assert inside.row.clone().add_(1).max() == 5


def test_few_kinds_of_planes_are_kept_and_no_large_ones() -> None:
    for count in range(1, 3 * module._MOST):
        default_planes((1, count), None, CPU)
    assert len(module._kept) == module._MOST
    large = module._LARGEST + 1
    assert default_planes((1, large), None, CPU).row is not default_planes((1, large), None, CPU).row


@pytest.mark.parametrize("grid", [(2, 4), (6,), (0, 6), "ab", 6, (-2, -3)])
def test_a_grid_of_other_tokens_is_refused(grid: object) -> None:
    default_planes((1, 6), (2, 3), CPU)
    with pytest.raises(TokensError, match="does not hold N = 6 tokens"):
        default_planes((1, 6), grid, CPU)  # type: ignore[arg-type]

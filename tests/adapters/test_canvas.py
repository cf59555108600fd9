"""The signal ``vision.canvas``: where tokens lie on the image put together of its tiles."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import original_llava, tiled
from adapters.anyres import GRID, canvas_of, next_model, onevision_model, prompts
from adapters.models import batch, shared
from adapters.test_given_signals import Reading, run
from scope_core import VisualTokens

CANVAS = "vision.canvas"
SIZES = ((40, 50), (25, 56), (100, 30), (29, 29), (56, 33), (27, 141))


def read(model: Any, size: tuple[int, int], **options: Any) -> tuple[VisualTokens, Tensor]:
    reading, given = Reading(CANVAS, **options), prompts(model, [3, size, 4])
    with reading.pruner.attach(model):
        run(model, given.inputs)
    return reading.tokens[0], reading.seen[0][CANVAS][0]


def by_hand(tokens: VisualTokens, canvas: tuple[int, int]) -> Tensor:
    """Places on the canvas, moved so that the first row and column with a token have number 0."""
    tile = tokens.tile[0] - 1
    rows = tile // canvas[1] * GRID + tokens.row[0]
    cols = tile % canvas[1] * GRID + tokens.col[0]
    tiled = tile >= 0
    rows, cols = rows - rows[tiled].min(), cols - cols[tiled].min()
    size = torch.stack([rows[tiled].max() + 1, cols[tiled].max() + 1]).expand(len(tile), 2)
    return torch.cat([rows[:, None], cols[:, None], size], 1).masked_fill(~tiled[:, None], 0).float()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"layout": "paper2880"}, {"newlines": "drop"}])
def test_llava_next_counts_rows_and_columns_without_the_border(size: tuple[int, int], options: dict[str, str]) -> None:
    model = next_model()
    tokens, got = read(model, size, adapter={"name": "llava_next", **options})
    assert torch.equal(got, by_hand(tokens, canvas_of(model, size)))


def test_competing_padding_lies_outside() -> None:
    model, size = next_model(), (56, 33)
    _, inside = read(model, size, adapter={"name": "llava_next", "layout": "paper2880"})
    tokens, got = read(model, size, adapter={"name": "llava_next", "layout": "paper2880", "padding": "competes"})
    tiled = got[:, 2] > 0
    assert got[tiled, 2:].unique(dim=0).tolist() == inside[inside[:, 2] > 0, 2:].unique(dim=0).tolist()
    within = tiled & (got[:, :2] >= 0).all(1) & (got[:, :2] < got[:, 2:]).all(1)
    assert int(within.sum()) == int((inside[:, 2] > 0).sum()) < int(tiled.sum())
    assert int((~tiled).sum()) == int((tokens.tile[0] == 0).sum()) == GRID * GRID


def test_interpolated_canvases_of_onevision_are_their_own_grid() -> None:
    tokens, got = read(onevision_model(), (27, 141))
    tiled = tokens.tile[0] > 0
    assert torch.equal(got[tiled, :2], torch.stack([tokens.row[0], tokens.col[0]], 1)[tiled].float())
    assert not got[~tiled].any()


def test_in_the_original_codebase() -> None:
    model, given = original_llava.shared("1.6"), original_llava.prompts("1.6", [3, (40, 56), 4])
    reading = Reading(CANVAS)
    with reading.pruner.attach(model), torch.no_grad():
        model.prepare_inputs_labels_for_multimodal(given.ids, None, given.mask, None, None, given.images, given.sizes)
    tokens, got = reading.tokens[0], reading.seen[0][CANVAS][0]
    tiled = got[:, 2] > 0
    assert int(tiled.sum())
    assert torch.equal(tiled, tokens.tile[0] > 0)
    rows, cols = got[tiled][0, 2:].int().tolist()
    cells = sorted(map(tuple, got[tiled, :2].int().tolist()))
    assert cells == [(row, col) for row in range(rows) for col in range(cols)]


def test_images_of_one_tile_are_their_own_overview() -> None:
    reading = Reading(CANVAS)
    with reading.pruner.attach(shared("clip")):
        run(shared("clip"), batch([3, "image", 4]).inputs)
    assert not reading.seen[0][CANVAS].any()


def test_internvl_cannot_say_and_the_refusal_says_why() -> None:
    with pytest.raises(scope.SignalError, match="in how many rows and columns the tiles"):
        scope.Pruner("globalcom2").attach(tiled.shared("internvl"))


def test_globalcom2_keeps_exactly_its_budget_on_llava_next() -> None:
    model = next_model()
    for size in SIZES:
        given = prompts(model, [3, size, 4])
        with scope.Pruner("globalcom2@11").attach(model) as pruning:
            run(model, given.inputs)
            assert pruning.receipt.selection.counts == (11,)

"""Overlays of every layout: what a patch shows is read from the image's pixels."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from PIL import Image

import scope_core as scope
from scope_core.structures.mixed import Mixed
from scope_core.structures.overlay import images_of, tiles_of
from scope_core.structures.places import Places

RED, SIDE, MARGIN = (250, 10, 10), 480, 36


def selection(tokens: scope.VisualTokens, picks: list[list[int]], **more: Any) -> scope.Selection:
    index = torch.tensor(picks)
    return scope.Selection(index, torch.zeros(index.shape), torch.zeros(index.shape), tokens, **more)


def grid_tokens(rows: int, columns: int, batch: int = 1) -> scope.VisualTokens:
    return scope.VisualTokens.of(torch.randn(batch, rows * columns, 4), grid=(rows, columns))


def tiled_tokens(tile: list[int], row: list[int], column: list[int]) -> scope.VisualTokens:
    where = [torch.tensor([values]) for values in (tile, row, column)]
    return scope.VisualTokens.of(torch.randn(1, len(tile), 4), tile=where[0], row=where[1], col=where[2])


def patch(page: Image.Image, grid: tuple[int, int], row: int, column: int, x: int = MARGIN) -> tuple[int, ...]:
    """The pixel in the middle of a patch of a panel with square patches whose shorter side is about `SIDE`."""
    size = SIDE // min(grid)
    return page.getpixel((x + column * size + size // 2, MARGIN + row * size + size // 2))


def is_dark(pixel: tuple[int, ...]) -> bool:
    return max(pixel) - min(pixel) < 8 and max(pixel) < 120


def test_kept_patches_have_their_pixels_and_dropped_ones_are_dark() -> None:
    image = Image.new("RGB", (60, 40), RED)
    page = selection(grid_tokens(4, 6), [[0, 23, 7]]).show(image)
    shown = {(r, c): patch(page, (4, 6), r, c) for r in range(4) for c in range(6)}
    assert {cell for cell, pixel in shown.items() if pixel == RED} == {(0, 0), (3, 5), (1, 1)}
    assert all(is_dark(pixel) for pixel in shown.values() if pixel != RED)


def test_one_row_of_panels_for_each_image_and_only_the_first_picks() -> None:
    two = selection(grid_tokens(4, 4, 2), [[0, 5], [15, -1]])
    image = Image.new("RGB", (40, 40), RED)
    page = two.show([image, image], first=1)
    assert patch(page, (4, 4), 0, 0) == RED
    assert is_dark(patch(page, (4, 4), 1, 1))
    alone = two.show([image, image])
    assert alone.height > page.height > 2 * SIDE  # without bars of coverage
    with pytest.raises(scope.TokensError, match="selection is of 2 images, but 1 was given; give a list with one"):
        two.show(image)
    with pytest.raises(scope.TokensError, match="first must be a number of picks, at least 0, not -1"):
        two.show([image, image], first=-1)


def test_an_image_of_another_shape_is_cropped_to_the_middle_and_said() -> None:
    image = Image.new("RGB", (80, 40), "blue")
    image.paste(RED, (20, 0, 60, 40))
    one = selection(grid_tokens(4, 4), [[0, 15]])
    with pytest.warns(UserWarning, match=r"80 x 40 pixels, its tokens 4 x 4 patches.*Give view=tower.view") as said:
        page = one.show(image)
    assert said[0].filename == __file__
    assert patch(page, (4, 4), 0, 0) == patch(page, (4, 4), 3, 3) == RED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert patch(one.show(image, view=lambda whole: whole.crop((40, 0, 80, 40))), (4, 4), 3, 3) == (0, 0, 255)


def test_tiles_are_drawn_each_with_its_own_pixels() -> None:
    """Two tiles of 2 x 2, of which the second lost its last row to padding."""
    tokens = tiled_tokens([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1])
    tiles = [Image.new("RGB", (28, 28), colour) for colour in (RED, "blue")]
    one = selection(tokens, [[3, 4]])
    found = Places.of(tokens, 0)
    drawn = tiles_of(tiles, found, view=None, grid=None, number=0)
    assert [tile.grid for tile in drawn] == [(2, 2), (2, 2)]
    page = one.show(tiles)
    colours = {pixel for _, pixel in page.getcolors(10**6)}
    assert {RED, (0, 0, 255)} <= colours
    same = one.show(Image.new("RGB", (56, 28)), view=lambda image: tiles)
    assert same.tobytes() == page.tobytes()
    with pytest.warns(UserWarning, match="2 tiles, so they are drawn without pixels; give the list of the 2 tile"):
        one.show(Image.new("RGB", (56, 28)))
    with pytest.raises(scope.TokensError, match="on 2 tiles, but 3 tile images were given"):
        one.show([*tiles, tiles[0]])


def test_a_tile_has_its_own_grid_if_its_pixels_say_so() -> None:
    """An overview of 2 x 2 patches, and the whole image put together: 1 row of 2 on a wide image."""
    found = Places.of(tiled_tokens([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]), 0)
    assert found.grids([(28, 28), (56, 28)]) == ((2, 2), (1, 2))
    assert found.grids([(28, 28), (28, 28)]) == ((2, 2), (2, 2))
    assert found.grids([None, None]) == ((2, 2), (2, 2))
    wide = Places.of(tiled_tokens([0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1, 2]), 0)
    assert wide.grids([None, None]) == ((2, 2), (1, 3))  # does not fit into the overview's


def test_merged_patches_are_dim_and_added_rows_are_told() -> None:
    tokens = grid_tokens(2, 2)
    weights = torch.tensor([[[1.0, 0.5, 0, 0], [0, 0, 0.2, 0.0]]])
    rows = Mixed(weights, None, torch.tensor([[0, -1]]), (2,))
    page = selection(tokens, [[0]], mixed=rows).show(Image.new("RGB", (40, 40), RED))
    kept, merged, added, dropped = (patch(page, (2, 2), r, c) for r in range(2) for c in range(2))
    assert kept == RED
    assert merged == added
    assert merged[0] > 4 * merged[1]
    assert RED[0] > merged[0]
    assert is_dark(dropped)
    marks = selection(tokens, [[0]], mixed=rows).marks
    assert marks.caption(0, Places.of(tokens, 0)) == ("1 of 4 kept", "2 merged; 1 row added by the merger")
    assigned = selection(tokens, [[0]], assigned=torch.tensor([[0, 0, -1, 0]])).marks
    assert assigned.merged.tolist() == [[False, True, False, True]]


def test_tokens_without_places() -> None:
    one = selection(scope.VisualTokens.of(torch.randn(1, 4, 4)), [[0]])
    with pytest.raises(scope.TokensError, match=r"image 0 have no grid positions .* give grid=\(rows, columns\)"):
        one.show(Image.new("RGB", (4, 4)))
    some = tiled_tokens([0] * 5, [-1, 0, 0, 1, 1], [-1, 0, 1, 0, 1])  # a CLS token before the grid
    marks = selection(some, [[0, 4]]).marks
    assert marks.caption(0, Places.of(some, 0)) == ("2 of 5 kept", "1 kept token has no place on the image")
    page = selection(some, [[0, 4]]).show(Image.new("RGB", (40, 40), RED))
    assert [patch(page, (2, 2), r, c) == RED for r in range(2) for c in range(2)] == [False, False, False, True]


def test_tokens_that_do_not_fill_a_grid() -> None:
    some = tiled_tokens([0, 0], [0, 1], [0, 1])
    one, image = selection(some, [[1]]), Image.new("RGB", (40, 40), RED)
    with pytest.warns(UserWarning, match="do not fill a grid; 2 rows and 2 columns are drawn"):
        page = one.show(image)
    assert patch(page, (2, 2), 0, 1) == (228, 230, 235)  # no token, so neither kept nor dropped
    page = one.show(image, grid=(4, 4))
    assert patch(page, (4, 4), 1, 1) == RED
    with pytest.raises(scope.TokensError, match=r"grid \(1, 4\) is too small .* reach row 1 and column 1"):
        one.show(image, grid=(1, 4))


def test_images_that_do_not_go_with_the_selection() -> None:
    array = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    assert len(images_of(array, 2)) == 2  # a batch
    assert images_of(None, 2) == [None, None]
    with pytest.raises(scope.ZooError, match="image 0 is of type int"):
        selection(grid_tokens(2, 2), [[0]]).show(7)


def test_padding_is_neither_kept_nor_dropped() -> None:
    valid = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    tokens = scope.VisualTokens.of(torch.randn(2, 6, 4), valid=valid, grid=(3, 2))
    one = selection(tokens, [[0], [5]])
    assert [len(Places.of(tokens, image).present) for image in (0, 1)] == [4, 6]
    assert one.nearest()[0][0, 4:].tolist() == [-1, -1]
    one.show()


@pytest.mark.parametrize("seed", range(3))
def test_nearest_is_what_a_loop_finds(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 9, 3, generator=generator)
    features[:, 4] = features[:, 2]  # a twin of a kept token
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[1, 7:] = False
    one = selection(scope.VisualTokens.of(features, valid=valid), [[5, 2, 4], [2, 6, -1]])
    index, cosine = one.nearest()
    for image, kept in enumerate(([2, 4, 5], [2, 6])):
        for token in range(9):
            if not valid[image, token]:
                assert int(index[image, token]) == -1
                continue
            found = {k: float(torch.cosine_similarity(features[image, token], features[image, k], dim=0)) for k in kept}
            best = token if token in kept else max(kept, key=lambda k: (round(found[k], 5), -k))
            assert int(index[image, token]) == best
            assert float(cosine[image, token]) == pytest.approx(max(found.values()), abs=1e-5)
    share = ((cosine >= 0.5) & valid).sum(1) / valid.sum(1)
    torch.testing.assert_close(one.coverage(0.5), share)


def test_nothing_kept() -> None:
    tokens = grid_tokens(2, 2)
    one = selection(tokens, [[]])
    assert one.nearest()[0].tolist() == [[-1] * 4]
    assert one.coverage((0.5, -1.0)).tolist() == [[0.0, 0.0]]
    assert is_dark(patch(one.show(Image.new("RGB", (40, 40), RED)), (2, 2), 0, 0))

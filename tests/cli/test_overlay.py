"""Drawing itself: sizes, long texts, odd grids."""

from __future__ import annotations

import pytest
from PIL import Image

from scope_core.drawing.page import Panel, Strip, draw
from scope_core.drawing.patches import Patches, Tile
from scope_core.drawing.text import percent


def strip(width: int, height: int, grid: tuple[int, int], *panels: Panel) -> Strip:
    return Strip((Tile(grid, Image.effect_noise((width, height), 60).convert("RGB")),), panels)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((336, 336), (24, 24)),
        ((384, 384), (27, 27)),
        ((672, 336), (24, 48)),
        ((300, 900), (60, 20)),
        ((90, 90), (3, 5)),
        ((1200, 1200), (300, 300)),
    ],
)
def test_panels_have_whole_pixels_per_patch_and_are_never_small(size: tuple[int, int], grid: tuple[int, int]) -> None:
    picks = [(0, 0, 0), (0, grid[0] - 1, grid[1] - 1)]
    page = draw([strip(*size, grid, Panel("a", patches=Patches(picks)))])
    panel = page.crop((36, 36, page.width - 36, page.height))
    assert panel.width % grid[1] == 0
    assert panel.width >= 336
    assert page.getpixel((36, 36)) == (255, 210, 63)  # the outline of the first patch


def test_long_texts_are_cut_inside_their_panel() -> None:
    plain = draw([strip(336, 336, (24, 24), Panel("a"), Panel("b"))])
    long = draw([strip(336, 336, (24, 24), Panel("a" * 200, "b" * 200, small="c" * 300), Panel("b"))])
    assert long.width == plain.width
    gap = long.crop((36 + 480 + 2, 36, 36 + 480 + 26, long.height - 36))
    assert gap.getextrema() == ((255, 255),) * 3


def test_letters_the_font_lacks_are_replaced() -> None:
    draw([strip(336, 336, (24, 24), Panel("写真 θ ≥"))], heading="Ω", footnotes=["→"])


def test_shares_at_their_ends() -> None:
    bars = (("none", 0.0), ("all", 1.0), ("unknown", None))
    draw([strip(336, 336, (24, 24), Panel("a", patches=Patches([]), bars=bars))])
    assert [percent(x) for x in (0.0, 0.001, 0.5, 0.998, 1.0, None, float("nan"))] == [
        "0%", "<1%", "50%", ">99%", "100%", "-", "-",
    ]  # fmt: skip

"""Sizes of images and videos, as they are typed."""

from __future__ import annotations

import re
from math import prod

import typer


def tiles_of(text: str) -> list[int]:
    """Tokens of each tile, from ``576`` or ``576+576``."""
    if not re.fullmatch(r"\d+(\+\d+)*", text):
        raise typer.BadParameter(
            f"'{text}' is not a token count; write 576, or 576+576 for tiles", param_hint="'--tokens'"
        )
    return [int(part) for part in text.split("+")]


def frames_of(text: str) -> list[int]:
    """Tokens of each frame, from ``16x196`` or ``16x14x14``."""
    match = re.fullmatch(r"(\d+)[xX](\d+)(?:[xX](\d+))?", text)
    if match is None or 0 in (sides := [int(side) for side in match.groups() if side]):
        raise typer.BadParameter(
            f"'{text}' is not a video; write FRAMESxTOKENS, e.g. 16x196, or FRAMESxROWSxCOLUMNS of tokens",
            param_hint="'--video'",
        )
    return [prod(sides[1:])] * sides[0]


def size_of(text: str) -> tuple[int, ...]:
    """(height, width), or (frames, height, width) of a video."""
    match = re.fullmatch(r"(?:(\d+)[xX])?(\d+)[xX](\d+)", text)
    if match is None or 0 in (sides := tuple(int(side) for side in match.groups() if side)):
        raise typer.BadParameter(
            f"'{text}' is not a size; write HEIGHTxWIDTH in pixels, e.g. 336x672, or FRAMESxHEIGHTxWIDTH of a video",
            param_hint="'--size'",
        )
    return sides

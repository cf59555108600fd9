"""Draw further emoji families for training: ``python -m scope_plugins.task.scenes.families OUT PACKAGE...``.

A package is the unpacked folder of an npm package ``@iconify-json/...`` (its ``icons.json`` has SVG drawings by the
Unicode name of the emoji) or a colour-bitmap font file. Needs ``pip install resvg_py``. docs/scenes-llava.md names the
packages that the shipped weights were trained with, and their licences.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from scope_core import MissingDependencyError, TaskError
from scope_plugins.task.scenes.classes import GROUPS

SIDE = 136
"""Side of a sprite in pixels."""
STRIKE = 109
"""The only size of Noto Color Emoji's bitmaps."""
RENAMED = {
    "🐸": "frog",
    "🍕": "pizza",
    "🚙": "sport-utility-vehicle",
    "🚂": "locomotive",
    "🥁": "drum",
    "🕒": "three-oclock",
    "🎁": "wrapped-gift",
}
"""Emoji whose short name in the packages differs from Unicode's."""


def draw(package: Path, out: Path) -> int:
    """Write ``CLASS-NUMBER.png`` for all classes that the package has, and return the number of files.

    Raises:
        TaskError: the package is of neither kind.
        MissingDependencyError: resvg_py is not installed.
    """
    drawn = _glyphs(package) if package.suffix == ".ttf" else _icons(package)
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, number, image in drawn:
        box = image.getchannel("A").point([0] * 9 + [255] * 247).getbbox()
        if box is not None:
            sprite = image.crop(box)
            sprite.thumbnail((SIDE, SIDE))
            sprite.save(out / f"{name}-{number}.png", optimize=True)
            count += 1
    return count


def _glyphs(font: Path) -> Iterator[tuple[str, int, Image.Image]]:
    face = ImageFont.truetype(str(font), STRIKE)
    for name, emoji in _emoji():
        for number, character in enumerate(emoji):
            image = Image.new("RGBA", (180, 180), (0, 0, 0, 0))
            ImageDraw.Draw(image).text((20, 20), character, font=face, embedded_color=True)
            yield name, number, image


def _icons(package: Path) -> Iterator[tuple[str, int, Image.Image]]:
    try:
        import resvg_py
    except ImportError as error:
        raise MissingDependencyError("drawing SVG emoji needs resvg_py: pip install resvg_py") from error
    try:
        icons = json.loads((package / "icons.json").read_text("utf-8"))
    except OSError as error:
        raise TaskError(f"{package} is not an unpacked @iconify-json package: {error}") from error
    for name, emoji in _emoji():
        for number, character in enumerate(emoji):
            if svg := _svg(icons, character):
                raw = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE)
                yield name, number, Image.open(BytesIO(bytes(raw))).convert("RGBA")


def _emoji() -> Iterator[tuple[str, str]]:
    for classes in GROUPS.values():
        yield from classes.items()


def _svg(icons: dict[str, Any], character: str) -> str | None:
    """The SVG drawing of an emoji; None if the family has none."""
    name = RENAMED.get(character) or unicodedata.name(character).lower().replace(" ", "-")
    for given in (name, f"{name}-1", name.replace("-", "")):
        parent = icons.get("aliases", {}).get(given, {}).get("parent", given)
        if parent in icons["icons"]:
            break
    else:
        return None
    icon = {"left": 0, "top": 0, "width": 16, "height": 16, **icons, **icons["icons"][parent]}
    box = " ".join(str(icon[key]) for key in ("left", "top", "width", "height"))
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {links} viewBox="{box}" width="{SIDE}" height="{SIDE}">{icon["body"]}</svg>'


if __name__ == "__main__":
    for given in map(Path, sys.argv[2:]):
        family = given.stem if given.suffix else json.loads((given / "icons.json").read_text("utf-8"))["prefix"]
        sys.stdout.write(f"{family}: {draw(given, Path(sys.argv[1]) / family)} sprites\n")

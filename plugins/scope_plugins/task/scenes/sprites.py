"""Sprites: small images of the objects, with transparency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from scope_core import TaskError
from scope_plugins.task.scenes.classes import NAMES

SHIPPED = Path(__file__).parent / "data" / "sprites"
"""Noto Color Emoji, one PNG per class; the licence is in the same folder."""

Sprites = Mapping[str, Sequence[Image.Image]]


def read_sprites(folder: Path) -> Sprites:
    """All sprites of a folder, by class.

    Args:
        folder: Folder of ``CLASS-NUMBER.png`` files, or of such folders (emoji families).

    Raises:
        TaskError: a class has no sprite, or a file cannot be read.
    """
    found: dict[str, list[Image.Image]] = {name: [] for name in NAMES}
    for path in sorted(folder.rglob("*.png")):
        if (name := path.stem.partition("-")[0]) in found:
            try:
                with Image.open(path) as opened:
                    found[name].append(opened.convert("RGBA"))
            except OSError as error:
                raise TaskError(f"the sprite {path} cannot be read: {error}") from error
    if missing := [name for name, images in found.items() if not images]:
        raise TaskError(
            f"the folder {folder} has no sprite of {', '.join(missing[:5])}{' ...' if missing[5:] else ''}; "
            f"each of the {len(NAMES)} classes needs a file CLASS-NUMBER.png, e.g. {missing[0]}-0.png"
        )
    return found

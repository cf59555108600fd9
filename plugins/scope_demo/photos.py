"""Images of visitors: uploads, read within limits, and those that are shipped."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from scope_core import Registry, ScopeError, ZooError
from scope_core.adapters import upright_rgb
from scope_core.cli.photos import DEMO, PHOTOS
from scope_core.commands import is_clip, open_pictures
from scope_demo.subject import Photo

BYTES, PIXELS = 20_000_000, 50_000_000
"""Largest file and largest image that is read; a decoded image takes 3 bytes a pixel."""
SCENES, SUGGESTED = 4, 3
"""Examples of the default task that are offered, and questions about each."""
GENERAL = ("What is in the background?", "Is there a cat in the image?", "How many cats are there in the image?")
"""Questions to suggest about any image."""


def read_upload(path: Path, name: str) -> Photo:
    """An uploaded image.

    Args:
        path: Where the server keeps it; not named in messages.
        name: Its name on the visitor's machine.

    Raises:
        ZooError: it is a video, too large, damaged, or no image.
    """
    shown = f"'{_short(name)}'"
    if is_clip(name):
        raise ZooError(
            f"{shown} is a video, and this page shows images; `scope run {_short(name)} -q ...` takes videos"
        )
    size = path.stat().st_size
    if size > BYTES:
        raise ZooError(f"{shown} has {size / 1e6:.0f} MB; the limit is {BYTES / 1e6:.0f} MB, so make it smaller first")
    data = path.read_bytes()
    if not data:
        raise ZooError(f"{shown} is empty; choose another file")
    _check_pixels(data, shown)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = upright_rgb(data, shown)
    notes = tuple(str(one.message) for one in caught)
    return Photo(hashlib.blake2b(data, digest_size=16).hexdigest(), _short(name), name, image, _general(), notes)


def _check_pixels(data: bytes, shown: str) -> None:
    """Refuse an image whose header tells more pixels than are decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(data)) as opened:
                width, height = opened.size
    except PIL.Image.DecompressionBombError as error:
        raise ZooError(f"{shown} has far more than {PIXELS:,} pixels, the limit; make it smaller first") from error
    except Exception:  # the loader finds the words
        return
    if width * height > PIXELS:
        raise ZooError(
            f"{shown} has {width:,} x {height:,} pixels; the limit is {PIXELS:,} in all, so make it smaller first"
        )


def shipped(registry: Registry, *, asked: bool = False) -> tuple[Photo, ...]:
    """Photographs of installed packages, and examples of the default task with their questions and right answers.

    Args:
        registry: The registry that names are looked up in.
        asked: True to begin with the examples, since questions are asked.
    """
    found = []
    for name in PHOTOS:
        try:
            (picture,) = open_pictures([DEMO + name])
        except ScopeError:  # its package is not installed
            continue
        found.append(Photo(picture.name, name, picture.name, picture.image, _general()))
    return (*scenes(registry), *found) if asked else (*found, *scenes(registry))


def scenes(registry: Registry) -> tuple[Photo, ...]:
    """Examples of the default task; none if there is no task, or it cannot be read."""
    record = registry.default("task")
    if record is None:
        return ()
    try:
        task = registry.build_named("task", record.name)
        examples = list(task.examples(task.splits[0], SCENES))
        return tuple(
            Photo(
                f"{record.name}:{one.id}",
                f"{record.name} {number}",
                f"{record.name}-{number}.png",
                upright_rgb(one.image(), one.id),
                _varied([(question.text, question.answer, question.kind) for question in one.questions]),
            )
            for number, one in enumerate(examples, 1)
        )
    except (ScopeError, OSError):
        return ()


def _varied(questions: Sequence[tuple[str, str, str]]) -> tuple[tuple[str, str], ...]:
    """A few questions, each of another kind."""
    first = {kind: (text, answer) for text, answer, kind in reversed(questions)}
    return tuple(first.values())[-SUGGESTED:]


def _general() -> tuple[tuple[str, str], ...]:
    return tuple((text, "") for text in GENERAL)


def _short(name: str) -> str:
    name = Path(name.replace("\\", "/")).name or "the file"
    return name if len(name) <= 60 else f"{name[:40]}...{name[-12:]}"

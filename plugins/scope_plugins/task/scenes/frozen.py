"""The frozen test set: rendered images and questions that ship with the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from gzip import decompress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from PIL import Image

from scope_core import TaskError
from scope_core.adapters import upright_rgb
from scope_core.tasks import Box, Example, Question

FOLDER = Path(__file__).parent / "data" / "test"
SHA256 = {
    "images.zip": "cd70e19a4149d693f4996c84d6cbb55efc784ffd03704219f2c972b6e6af80b6",
    "questions.json.gz": "220546ec67327a4c8ab5274674a6db98655eae93180dd621d0e3c048d116ae60",
}


def read(limit: int | None = None, folder: Path = FOLDER) -> Sequence[Example]:
    """The examples in order; scenes of different photographs alternate.

    Raises:
        TaskError: a file is missing, or differs from the shipped one.
    """
    scenes = json.loads(decompress(_checked(folder, "questions.json.gz")))
    _checked(folder, "images.zip")
    return [_example(scene, folder / "images.zip") for scene in scenes[:limit]]


def _checked(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TaskError(f"the scenes test set cannot be read: {error}. Reinstall scope-core") from error
    if (found := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise TaskError(
            f"{path} is not the frozen test set: its SHA-256 is {found}, expected {SHA256[name]}. Reinstall scope-core"
        )
    return content


def _example(scene: dict[str, Any], images: Path) -> Example:
    questions = tuple(
        Question(**{**question, "choices": tuple(question["choices"]), "tags": tuple(question["tags"])})
        for question in scene["questions"]
    )
    boxes = tuple(Box(*box) for box in scene["objects"])
    return Example(scene["id"], partial(_image, images, scene["image"]), questions, boxes, scene["id"])


def _image(images: Path, name: str) -> Image.Image:
    with ZipFile(images) as archive:
        return upright_rgb(archive.read(name), f"{name} of the scenes test set")

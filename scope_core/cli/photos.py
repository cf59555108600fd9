"""Input images of the command line: files, and ``demo:NAME`` photographs that ship with other packages."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_core.clips import is_clip
from scope_core.errors import MissingDependencyError, ZooError, did_you_mean, listed
from scope_core.images import upright_rgb

DEMO = "demo:"

# name: (import package, pip package, file below the package, content); only files inside the wheels
PHOTOS = {
    "astronaut": ("skimage", "scikit-image", "data/astronaut.png", "portrait with flag and space shuttle"),
    "camera": ("skimage", "scikit-image", "data/camera.png", "cameraman, grey"),
    "chelsea": ("skimage", "scikit-image", "data/chelsea.png", "a cat's face"),
    "china": ("sklearn", "scikit-learn", "datasets/images/china.jpg", "Summer Palace, Beijing"),
    "coffee": ("skimage", "scikit-image", "data/coffee.png", "a cup of coffee on a table"),
    "flower": ("sklearn", "scikit-learn", "datasets/images/flower.jpg", "a dahlia"),
    "hubble": ("skimage", "scikit-image", "data/hubble_deep_field.jpg", "Hubble deep field"),
    "motorcycle": ("skimage", "scikit-image", "data/motorcycle_left.png", "a motorcycle in a garage"),
    "retina": ("skimage", "scikit-image", "data/retina.jpg", "fundus of an eye"),
    "rocket": ("skimage", "scikit-image", "data/rocket.jpg", "a rocket on its launch pad"),
}


@dataclass(frozen=True)
class Picture:
    """An input image: its name as typed, and its pixels in RGB, upright; or a video, and its frames."""

    name: str
    image: Any

    @property
    def title(self) -> str:
        """The name without its folder and ending."""
        return self.name.removeprefix(DEMO) if self.name.startswith(DEMO) else Path(self.name).name


def open_pictures(names: list[str]) -> list[Picture]:
    """The images with these names.

    Raises:
        ZooError: one is a video, or cannot be opened; names it.
        MissingDependencyError: a demo photograph's package is not installed.
    """
    for name in names:
        if is_clip(name):
            raise ZooError(
                f"'{name}' is a video, and images are read here; write its frames as images (ffmpeg -i {name} -vf "
                f"fps=1 frame-%03d.png) and give these, or use `scope select`, `scope compare` or `scope run`"
            )
    return [Picture(name, upright_rgb(_path(name))) for name in names]


def demo_path(name: str) -> Path:
    """The file of the photograph ``demo:NAME``.

    Raises:
        ZooError: there is no such photograph.
        MissingDependencyError: the package that ships it is not installed.
    """
    if name not in PHOTOS:
        raise ZooError(
            f"there is no photograph 'demo:{name}'{did_you_mean(name, PHOTOS)}. Photographs: {listed(PHOTOS)}"
        )
    module, package, file, _ = PHOTOS[name]
    home = importlib.util.find_spec(module)  # imports nothing
    if home is None or not home.submodule_search_locations:
        raise MissingDependencyError(
            f"'demo:{name}' ships with {package}, which is not installed: pip install {package}"
        )
    path = Path(next(iter(home.submodule_search_locations))) / file
    if not path.is_file():
        raise ZooError(f"'demo:{name}' is not in the installed {package} ({path}); try another: {listed(PHOTOS)}")
    return path


def _path(name: str) -> str | Path:
    if name.startswith(DEMO):
        return demo_path(name.removeprefix(DEMO))
    if name in PHOTOS and not Path(name).exists():
        raise ZooError(f"there is no file '{name}'; did you mean 'demo:{name}'?")
    return name

"""Faces: public modules that list names and import each from its home on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy(
    face: str, homes: Mapping[str, str], moved: Mapping[str, str] | None = None, faces: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of the module ``face``.

    Args:
        face: The module's name.
        homes: ``{module below the face's package: names}``, the names separated by spaces.
        moved: ``{face below the package: names}``, names that this module held before: asking for one raises an
            `ImportError` that says where it is now.
        faces: Names of modules in the package that are reached as attributes of this one.
    """
    package = face.partition(".")[0]
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    new_face_of = {name: new_face for new_face, names in (moved or {}).items() for name in names.split()}

    def get(name: str) -> Any:
        if name in home_of:
            value = getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
            setattr(sys.modules[face], name, value)
            return value
        if name in faces:
            return importlib.import_module(f"{package}.{name}")
        if name in new_face_of:
            module = f"{package}.{new_face_of[name]}"
            raise ImportError(f"{face}.{name} has moved to {module}: from {module} import {name}", name=face)
        raise AttributeError(f"module '{face}' has no attribute '{name}'")

    names = sorted(home_of, key=lambda name: (not name.isupper(), name))
    return get, lambda: [*names], names

"""Faces: modules that name what their readers import, and load each name on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy(
    face: str, homes: Mapping[str, str], moved: Mapping[str, str] | None = None, faces: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of the module ``face``.

    Args:
        face: The module's name.
        homes: ``{module below scope_core: names, with spaces}``.
        moved: ``{face below scope_core: names, with spaces}`` that were in this module once: asking for one raises an
            `ImportError` that says where it is now.
        faces: Names of modules beside this one that are reached as its attributes.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    place_of = {name: place for place, names in (moved or {}).items() for name in names.split()}

    def get(name: str) -> Any:
        if name in home_of:
            value = getattr(importlib.import_module(f"scope_core.{home_of[name]}"), name)
            setattr(sys.modules[face], name, value)
            return value
        if name in faces:
            return importlib.import_module(f"scope_core.{name}")
        if name in place_of:
            place = f"scope_core.{place_of[name]}"
            raise ImportError(f"{face}.{name} is in {place}: from {place} import {name}", name=face)
        raise AttributeError(f"module '{face}' has no attribute '{name}'")

    return get, lambda: [*sys.modules[face].__all__]

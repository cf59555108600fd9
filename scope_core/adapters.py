"""Names for authors of model adapters and of zoo entries.

from scope_core.adapters import Declaration, ModelAdapter, Offer, Session
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.images import read_images, upright_rgb
    from scope_core.parts.zoo import LoadedModel, Tower
    from scope_core.pruning.adapter import ModelAdapter
    from scope_core.pruning.compatibility import check_fit, compatible_parts, find_adapter
    from scope_core.pruning.patching import replace_attribute, resolve
    from scope_core.pruning.schedule import Schedule
    from scope_core.pruning.session import Session
    from scope_core.registry.entries import ZooEntry
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.encoding import Asked, Encoding, Memo
    from scope_core.structures.signals import Offer

_HOMES = {
    "images": "read_images upright_rgb",
    "parts.zoo": "LoadedModel Tower",
    "pruning.adapter": "ModelAdapter",
    "pruning.compatibility": "check_fit compatible_parts find_adapter",
    "pruning.patching": "replace_attribute resolve",
    "pruning.schedule": "Schedule",
    "pruning.session": "Session",
    "registry.entries": "ZooEntry",
    "structures.declaration": "Declaration",
    "structures.encoding": "Asked Encoding Memo",
    "structures.signals": "Offer",
}

__all__ = [
    "Asked",
    "Declaration",
    "Encoding",
    "LoadedModel",
    "Memo",
    "ModelAdapter",
    "Offer",
    "Schedule",
    "Session",
    "Tower",
    "ZooEntry",
    "check_fit",
    "compatible_parts",
    "find_adapter",
    "read_images",
    "replace_attribute",
    "resolve",
    "upright_rgb",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__ = lazy(__name__, _HOMES)

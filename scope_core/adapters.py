"""Names for authors of model adapters and of zoo entries.

from scope_core.adapters import Declaration, ModelAdapter, Offer, Session
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.engine.attention_bias import attention_bias as attention_bias
    from scope_core.engine.grouping import with_frames as with_frames
    from scope_core.errors import quoted as quoted
    from scope_core.folders import cache_folder as cache_folder
    from scope_core.folders import remove_leftovers as remove_leftovers
    from scope_core.folders import replacing as replacing
    from scope_core.folders import sole_user as sole_user
    from scope_core.images import read_images as read_images
    from scope_core.images import upright_rgb as upright_rgb
    from scope_core.parts.zoo import LoadedModel as LoadedModel
    from scope_core.parts.zoo import Tower as Tower
    from scope_core.pruning.adapter import ModelAdapter as ModelAdapter
    from scope_core.pruning.compatibility import compatible_parts as compatible_parts
    from scope_core.pruning.compatibility import find_adapter as find_adapter
    from scope_core.pruning.patching import replace_attribute as replace_attribute
    from scope_core.pruning.patching import resolve as resolve
    from scope_core.pruning.reader import Reader as Reader
    from scope_core.pruning.reader import point_of as point_of
    from scope_core.pruning.reader import reusable as reusable
    from scope_core.pruning.recipe_fit import RecipeFit as RecipeFit
    from scope_core.pruning.recipe_fit import check_fit as check_fit
    from scope_core.pruning.recipe_fit import recipe_fits as recipe_fits
    from scope_core.pruning.schedule import Schedule as Schedule
    from scope_core.pruning.session import Session as Session
    from scope_core.pruning.spec_file import is_file_name as is_file_name
    from scope_core.registry.entries import ZooEntry as ZooEntry
    from scope_core.structures.declaration import Declaration as Declaration
    from scope_core.structures.encoding import Asked as Asked
    from scope_core.structures.encoding import Encoding as Encoding
    from scope_core.structures.encoding import Memo as Memo
    from scope_core.structures.offer import Offer as Offer

_HOMES = {
    "engine.attention_bias": "attention_bias",
    "engine.grouping": "with_frames",
    "errors": "quoted",
    "folders": "cache_folder remove_leftovers replacing sole_user",
    "images": "read_images upright_rgb",
    "parts.zoo": "LoadedModel Tower",
    "pruning.adapter": "ModelAdapter",
    "pruning.compatibility": "compatible_parts find_adapter",
    "pruning.patching": "replace_attribute resolve",
    "pruning.reader": "Reader point_of reusable",
    "pruning.recipe_fit": "RecipeFit check_fit recipe_fits",
    "pruning.schedule": "Schedule",
    "pruning.session": "Session",
    "pruning.spec_file": "is_file_name",
    "registry.entries": "ZooEntry",
    "structures.declaration": "Declaration",
    "structures.encoding": "Asked Encoding Memo",
    "structures.offer": "Offer",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(__name__, _HOMES)

"""Adapters for models of other libraries, and the zoo of models and towers that load by name.

    from scope_adapters import HuggingFaceAdapter, Spliced, timm_probe

The names here are for authors of further adapters and towers; they are imported on first use. No other code of this
project imports transformers or timm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_adapters.adapters.anyres import AnyRes
    from scope_adapters.adapters.llava import Llava
    from scope_adapters.adapters.llava_original import LlavaOriginal
    from scope_adapters.adapters.projected import ProjectedTower
    from scope_adapters.adapters.qwen2_vl import MergedPatches
    from scope_adapters.adapters.spliced import Spliced
    from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
    from scope_adapters.hosts.huggingface.image_rows import Encoded
    from scope_adapters.towers.clip_text import ClipTextSimilarity
    from scope_adapters.towers.huggingface import HuggingFaceTower
    from scope_adapters.towers.timm import TimmTower, timm_probe
    from scope_adapters.zoo.towers import from_hub, from_timm

_HOMES = {
    "adapters.anyres": "AnyRes",
    "adapters.llava": "Llava",
    "adapters.llava_original": "LlavaOriginal",
    "adapters.projected": "ProjectedTower",
    "adapters.qwen2_vl": "MergedPatches",
    "adapters.spliced": "Spliced",
    "hosts.huggingface.adapter": "HuggingFaceAdapter",
    "hosts.huggingface.image_rows": "Encoded",
    "towers.clip_text": "ClipTextSimilarity",
    "towers.huggingface": "HuggingFaceTower",
    "towers.timm": "TimmTower timm_probe",
    "zoo.towers": "from_hub from_timm",
}

__all__ = [
    "AnyRes",
    "ClipTextSimilarity",
    "Encoded",
    "HuggingFaceAdapter",
    "HuggingFaceTower",
    "Llava",
    "LlavaOriginal",
    "MergedPatches",
    "ProjectedTower",
    "Spliced",
    "TimmTower",
    "from_hub",
    "from_timm",
    "timm_probe",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__ = lazy(__name__, _HOMES)

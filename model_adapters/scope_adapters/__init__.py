"""Adapters for models of other libraries, and the zoo of models and towers that load by name.

    from scope_adapters import HuggingFaceAdapter, Spliced, timm_probe

The names here are for authors of further adapters and towers; they are imported on first use. No other code of this
project imports transformers or timm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_adapters.adapters.anyres import AnyRes as AnyRes
    from scope_adapters.adapters.llava import Llava as Llava
    from scope_adapters.adapters.llava_original import LlavaOriginal as LlavaOriginal
    from scope_adapters.adapters.projected import ProjectedTower as ProjectedTower
    from scope_adapters.adapters.qwen2_vl import MergedPatches as MergedPatches
    from scope_adapters.adapters.shuffled import Shuffled as Shuffled
    from scope_adapters.adapters.spliced import Spliced as Spliced
    from scope_adapters.compat.transformers import base_of as base_of
    from scope_adapters.compat.transformers import tiles_of as tiles_of
    from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter as HuggingFaceAdapter
    from scope_adapters.hosts.huggingface.image_rows import Encoded as Encoded
    from scope_adapters.pages.method import method_page as method_page
    from scope_adapters.towers.clip_text import ClipEmbeddings as ClipEmbeddings
    from scope_adapters.towers.clip_text import ClipTextSimilarity as ClipTextSimilarity
    from scope_adapters.towers.huggingface import HuggingFaceTower as HuggingFaceTower
    from scope_adapters.towers.layouts import TowerLayout as TowerLayout
    from scope_adapters.towers.projector import ProjectorSensitivity as ProjectorSensitivity
    from scope_adapters.towers.timm import TimmTower as TimmTower
    from scope_adapters.towers.timm import timm_probe as timm_probe
    from scope_adapters.towers.trial import noise as noise
    from scope_adapters.zoo.towers import from_hub as from_hub
    from scope_adapters.zoo.towers import from_timm as from_timm

_HOMES = {
    "adapters.anyres": "AnyRes",
    "adapters.llava": "Llava",
    "adapters.llava_original": "LlavaOriginal",
    "adapters.projected": "ProjectedTower",
    "adapters.qwen2_vl": "MergedPatches",
    "adapters.shuffled": "Shuffled",
    "adapters.spliced": "Spliced",
    "compat.transformers": "base_of tiles_of",
    "hosts.huggingface.adapter": "HuggingFaceAdapter",
    "hosts.huggingface.image_rows": "Encoded",
    "pages.method": "method_page",
    "towers.clip_text": "ClipEmbeddings ClipTextSimilarity",
    "towers.huggingface": "HuggingFaceTower",
    "towers.layouts": "TowerLayout",
    "towers.projector": "ProjectorSensitivity",
    "towers.timm": "TimmTower timm_probe",
    "towers.trial": "noise",
    "zoo.towers": "from_hub from_timm",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(__name__, _HOMES)

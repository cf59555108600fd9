"""TinyLLaVA Factory: LLaVA's splicing, with tower, connector and language model as attributes.

Tested: a stand-in with its names. Tried by hand: the repository's own classes, see docs/embed.md.
"""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.spliced import Spliced
from scope_adapters.hosts.splicing import PREPARE
from scope_core.parts import ComponentSpec


class TinyLlavaSpec(ComponentSpec):
    """TinyLLaVA in its own codebase."""

    name: Literal["tinyllava"] = "tinyllava"


class TinyLlava(Spliced[TinyLlavaSpec]):
    """CLIP or SigLIP tower; connectors that map each token by itself (linear, mlp)."""

    methods = ("encode_images", PREPARE, "load_vision_tower", "load_connector")
    wrapper = "vision_tower"
    tower = "_vision_tower"
    projector = "connector"
    layer = "config.vision_feature_layer"
    feature = "config.vision_feature_select_strategy"

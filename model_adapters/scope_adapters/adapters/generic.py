"""Any Hugging Face model that no other adapter serves, if a trial with one blank image proves how its images enter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from scope_adapters.adapters.geometry import check_proven, geometry_of
from scope_adapters.adapters.proven import ProvenAxes, ProvenRows, take_videos
from scope_adapters.adapters.qwen2_vl import MergedPatches
from scope_adapters.compat.transformers import base_of, without_weights
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.proof import Moving
from scope_adapters.hosts.methods import unwrap
from scope_core import AdapterError
from scope_core.adapters import Declaration
from scope_core.parts import ComponentSpec

BLOCKS = (
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_5",
    "qwen3_5_moe",
    "glm4v",
    "glm4v_moe",
)
"""``model_type`` without "_vision" of towers that pack the patches of all images, and whose attention is as Qwen2-VL's:
one fused projection, rotated, without norms of queries and keys."""
_WINDOWS = "fullatt_block_indexes"


class GenericSpec(ComponentSpec):
    """Any Hugging Face model with ``get_image_features``. Images, and videos where a trial proves how they enter."""

    name: Literal["generic"] = "generic"


class ProvenBlocks(MergedPatches[GenericSpec]):
    """`MergedPatches` for a model whose blocks a trial has proven."""

    reuses = False

    def video_placeholder(self, model: Any) -> int | None:
        """The id that the trial found to stand for videos; it may be that of images."""
        video = geometry_of(model).video
        return video.placeholder if isinstance(video, Moving) else None


class Generic(ProvenRows[GenericSpec]):
    """Chooses how to serve a model by what a trial proves: blocks of packed patches, several axes, or rows alone."""

    fallback = True

    def matches(self, model: Any) -> bool:
        """True for models with ``generate`` whose body has ``get_image_features``."""
        if not (hasattr(model, "generate") and hasattr(getattr(model, "config", None), "model_type")):
            return False
        return hasattr(model, "base_model") and hasattr(base_of(model), "get_image_features")

    def without_weights(self, folder: Path) -> Any:
        """The model that ``config.json`` describes, on the meta device; None if transformers has no such type."""
        try:
            model = without_weights(folder)
        except (AdapterError, OSError, ValueError, KeyError):
            return None
        return model if self.matches(model) else None

    def bound(self, model: Any) -> HuggingFaceAdapter[GenericSpec]:
        """The adapter for this model."""
        kind = _kind(model)
        made = kind(self.spec, self.parts)
        if not isinstance(made, MergedPatches):
            return made.bound(model)
        known = geometry_of(model)
        made.has_token_fields, video = known.layered, known.video
        whole = isinstance(video, str) or (video.merged == 1 and video.placed)
        take_videos(made, video if whole else "the trial shows no places of tokens for each frame of its grid")
        made.tower = "visual"
        made.whole = _WINDOWS if hasattr(base_of(model).visual, _WINDOWS) else ""
        return made

    def check(self, model: Any) -> Declaration:
        """The declaration, once a blank image proved that rows and placeholders belong together."""
        model = unwrap(model)
        check_proven(model)
        return self.bound(model).check(model)

    def layout(self, model: Any, sizes: Any) -> Any:
        """The layout where blocks of patches are known; see `ProvenRows.layout`."""
        return self.bound(unwrap(model)).layout(model, sizes)


def _kind(model: Any) -> type[HuggingFaceAdapter[GenericSpec]]:
    base = base_of(model)
    if not (hasattr(base, "get_rope_index") and hasattr(base, "rope_deltas")):
        return ProvenRows
    tower, grid = getattr(base, "visual", None), geometry_of(model).grid
    known = str(getattr(getattr(tower, "config", None), "model_type", "")).removesuffix("_vision") in BLOCKS
    return ProvenBlocks if known and grid is not None and grid.blocks else ProvenAxes

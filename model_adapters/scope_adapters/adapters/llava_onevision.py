"""LLaVA-OneVision on Hugging Face: SigLIP tiles, interpolated to fewer tokens where an image has very many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from scope_adapters.adapters.anyres import AnyRes
from scope_adapters.adapters.merged import merged_tokens
from scope_adapters.adapters.packing import Packing
from scope_adapters.adapters.pooled_frames import PooledFrames
from scope_core import VisualTokens
from scope_core.adapters import Declaration, Session
from scope_core.parts import ComponentSpec


class LlavaOnevisionSpec(ComponentSpec):
    """LLaVA-OneVision, in the model's own layout. Images and videos.

    Plans for image sizes are for one image per prompt. Images that share a prompt are one tile and a newline each,
    of any size.
    """

    name: Literal["llava_onevision"] = "llava_onevision"
    newlines: Literal["keep", "drop", "keep_if_row_kept"] = "keep"
    """The treatment of newline tokens, which are not candidates and not counted in the budget."""


class LlavaOnevision(AnyRes[LlavaOnevisionSpec], PooledFrames[LlavaOnevisionSpec]):
    """Tower without CLS token. A token of an interpolated image, or of a video's frame, merges up to four patches.

    Its features and signals come from the model's own packing, run on features and signals.
    """

    spec: Any  # LlavaOnevisionSpec
    image_inputs = (*AnyRes.image_inputs, "vision_aspect_ratio", "batch_num_images")

    model_type = "llava_onevision"
    geometry = "one token per unpadded patch, interpolated beyond a number of tiles; newline tokens at row ends"
    packing = ("vision_aspect_ratio",)

    def check(self, model: Any) -> Declaration:
        """The declaration; tokens can be merged only after the projector, since interpolation comes after it."""
        return replace(super().check(model), merges=frozenset({"projected"}))

    def project(self, model: Any, attachment: Session) -> None:
        """None: tokens are merged after the projector."""

    @property
    def newlines(self) -> str:
        """The spec's option."""
        return str(self.spec.newlines)

    video_pooler = "tensor"

    def pool(self, base: Any, values: Tensor) -> Tensor:
        """The model's own pooling of frames."""
        pooled: Tensor = base.apply_pooling(values)
        return pooled

    def ends(self, base: Any) -> str:
        """The spec's option: a newline token stands behind each video."""
        return self.newlines

    def tokens(
        self, base: Any, tiles: VisualTokens, packings: Sequence[Packing], images: Mapping[str, Any]
    ) -> VisualTokens:
        """The candidates; where rows merge patches, everything that tokens carry goes through the packing."""
        if not any(packing.merged for packing in packings):
            return super().tokens(base, tiles, packings, images)
        counts = [packing.patches // tiles.shape[1] for packing in packings]

        def pack(flat: Tensor) -> list[Tensor]:
            return self.packed(base, torch.split(flat, counts), images, flat.new_zeros(flat.shape[-1]))

        return merged_tokens(tiles, packings, pack)

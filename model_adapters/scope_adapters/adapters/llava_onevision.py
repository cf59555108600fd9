"""LLaVA-OneVision on Hugging Face: SigLIP tiles, shrunk by interpolation where an image has very many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from scope_adapters.adapters.anyres import AnyRes, Packing
from scope_adapters.adapters.mixed import mixed_tokens
from scope_core import VisualTokens
from scope_core.adapters import Declaration, Session
from scope_core.parts import ComponentSpec


class LlavaOnevisionSpec(ComponentSpec):
    """LLaVA-OneVision as the model itself lays images out. Images only; calls with videos are refused.

    Plans for image sizes take every image as the only one of its prompt. Images that share a prompt are one
    tile and a newline each, whatever their size.
    """

    name: Literal["llava_onevision"] = "llava_onevision"
    newlines: Literal["keep", "drop", "keep_if_row_kept"] = "keep"
    """What becomes of newline tokens; they are no candidates and count against no budget."""


class LlavaOnevision(AnyRes[LlavaOnevisionSpec]):
    """Tower without CLS. Tokens of interpolated images mix up to four patches: no token is any one patch's.

    Features and signals of such tokens come from the model's own packing, run on features and signals.
    """

    spec: Any  # LlavaOnevisionSpec
    image_inputs = (*AnyRes.image_inputs, "vision_aspect_ratio", "batch_num_images")

    model_type = "llava_onevision"
    geometry = "one token per unpadded patch, interpolated beyond a number of tiles; newline tokens at row ends"
    packing = ("vision_aspect_ratio",)

    def check(self, model: Any) -> Declaration:
        """Tokens are merged after the projector only: interpolation comes between it and them."""
        return replace(super().check(model), merges=frozenset({"projected"}))

    def project(self, model: Any, attachment: Session) -> None:
        """None."""

    @property
    def newlines(self) -> str:
        """The spec's."""
        return str(self.spec.newlines)

    def tokens(
        self, base: Any, tiles: VisualTokens, packings: Sequence[Packing], images: Mapping[str, Any]
    ) -> VisualTokens:
        """By patch where every row is one; by packing all that tokens carry where some rows mix patches."""
        if not any(packing.mixed for packing in packings):
            return super().tokens(base, tiles, packings, images)
        counts = [packing.patches // tiles.shape[1] for packing in packings]

        def pack(flat: Tensor) -> list[Tensor]:
            return self.packed(base, torch.split(flat, counts), images, flat.new_zeros(flat.shape[-1]))

        return mixed_tokens(tiles, packings, pack)

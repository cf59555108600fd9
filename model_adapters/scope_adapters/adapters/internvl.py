"""InternVL (2.5, 3, 3.5) on Hugging Face: tiles, one token per 2 x 2 patches."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from scope_adapters.adapters.labelled_frames import LabelledFrames
from scope_adapters.compat.transformers import base_of, installed_version, reads_layer, tiles_of
from scope_adapters.hosts.methods import unwrap
from scope_core import AdapterError
from scope_core.adapters import Declaration
from scope_core.parts import ComponentSpec


class InternVLSpec(ComponentSpec):
    """InternVL on Hugging Face. An image is an unbroken run of placeholders; its tiles are found by length.

    Its processor gives the frames of a video as images, each behind "Frame1: ", "Frame2: " and so on.
    """

    name: Literal["internvl"] = "internvl"
    min_tiles: int = Field(1, ge=1)
    """The processor's ``min_patches``; only plans for image sizes use it."""
    max_tiles: int = Field(12, ge=1)
    """The processor's ``max_patches``, or 1 if it does not cut images into tiles; only plans for image sizes use it."""
    frames: Literal["images", "videos"] = "images"
    """What images of one tile are that follow one another, with a label before each that counts on: images of their
    own, or frames of one video. Label 1 starts the next video. Images labelled by hand ("Image-1: ") look the same."""


class InternVL(LabelledFrames[InternVLSpec]):
    """Tower with CLS token; tiles row by row, the overview last."""

    image_inputs = ("pixel_values", "vision_feature_layer", "vision_feature_select_strategy")
    pooler = "tensor"

    model_type = "internvl"
    geometry = "one token per 2 x 2 patches (attention summed over them, keys and hidden states averaged)"
    merging = "pixel_shuffle"

    def check(self, model: Any) -> Declaration:
        """The declaration, if this release of transformers reads the tower layer in the model's config."""
        declaration, inner = super().check(model), unwrap(model)
        layer = inner.config.vision_feature_layer
        if layer != -1 and not reads_layer(base_of(inner), layer):
            raise AdapterError(
                f"{declaration.model} is configured with vision_feature_layer {layer}, but get_image_features() of the "
                f"installed transformers {installed_version()} reads only the tower's last layer (-1): images fail "
                f"without a pruner, too. Use another release in an environment of its own; `scope doctor` lists those "
                f"that were tested"
            )
        return declaration

    def merge(self, base: Any, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """The model's own shuffling, which takes rows and columns apart."""
        shuffled: Tensor = base.pixel_shuffle(values.view(1, *grid, 1), scale_factor=base.config.downsample_ratio)
        return shuffled

    def tiles(self, model: Any, size: tuple[int, int]) -> int:
        """The number of tiles, from the image processor that InternVL's checkpoints name."""
        height, width = model.config.vision_config.image_size
        return tiles_of(
            "got_ocr2",
            "GotOcr2ImageProcessor",
            size,
            size={"height": height, "width": width},
            crop_to_patches=True,
            min_patches=self.spec.min_tiles,
            max_patches=self.spec.max_tiles,
        )

"""InternVL in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.interns1 import (
    InternS1DummyInputsBuilder,
    InternS1ForConditionalGeneration,
    InternS1MultiModalProcessor,
    InternS1ProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageEmbeddingItems, ImageProcessorItems
from vllm.multimodal.processing import PromptReplacement, PromptUpdateDetails

from scope_adapters.serving.geometry import Size, geometry_of
from scope_adapters.serving.model import PrunedModel
from scope_adapters.serving.processing import Medium, PrunedInfo, PrunedProcessor
from scope_adapters.serving.served import KEY, Served
from scope_adapters.serving.shuffled import MOST
from scope_adapters.serving.worker import ImageTiles


class ScopeInternVLInfo(PrunedInfo, InternS1ProcessingInfo):  # type: ignore[misc]
    """Processing info: images only, sized by the processor's number of tiles."""

    @functools.cached_property
    def served(self) -> Served:
        """The engine's spec; the config gets the number of tiles of the processor's largest image."""
        geometry_of(self.ctx.get_hf_config())  # refuses other models, in words, before their processor is asked for
        size, processor = self.get_image_size_with_most_features(), self.get_hf_processor()
        tokens = self.get_num_image_tokens(
            image_width=size.width, image_height=size.height, processor=processor, mm_kwargs={}
        )
        setattr(self.ctx.get_hf_config(), MOST, tokens // processor.image_seq_length)
        return super().served

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Images; videos are not served."""
        return {"image": None}

    def get_num_image_tokens(  # type: ignore[override]
        self, *, image_width: int, image_height: int, processor: Any, mm_kwargs: Mapping[str, object]
    ) -> int:
        """The number of tokens of an image before pruning, by which vLLM finds the largest image.

        The processor of prompts cuts images into tiles, whatever the image processor's own default is.
        """
        options = {"crop_to_patches": True, **self.ctx.get_merged_mm_kwargs(mm_kwargs)}
        found: int = super(PrunedInfo, self).get_num_image_tokens(
            image_width=image_width, image_height=image_height, processor=processor, mm_kwargs=options
        )
        return found

    def get_image_size_with_most_features(self) -> Any:
        """The largest image that the processor makes, as vLLM finds it."""
        return super(PrunedInfo, self).get_image_size_with_most_features()


class ScopeInternVLProcessor(PrunedProcessor, InternS1MultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the image's number of tiles."""

    def _sizes(self, medium: Medium, mm_items: Any, out: Any) -> list[Size]:
        geometry: Any = self.info.served.geometry(self.info.served.default)
        return [geometry.size(tiles) for tiles in out["image_num_patches"].tolist()]

    def _pixels(self, medium: Medium, out: Any) -> Sequence[Tensor]:
        return torch.split(out["pixel_values"], out["image_num_patches"].tolist())

    def _check_pixels(self, medium: Medium, out: Any, number: int, size: Size) -> None:
        """Refuse tiles of another size than the model's: options of the engine may change it.

        Raises:
            ValueError: names the shape.
        """
        shape, config = tuple(out["pixel_values"].shape[-2:]), self.info.get_hf_config().vision_config
        if shape != tuple(config.image_size):
            raise ValueError(
                f"image {number} became tiles of {shape[1]} x {shape[0]} pixels, but the model reads tiles of "
                f"{config.image_size[1]} x {config.image_size[0]}; omit `size` from the options for the image processor"
            )

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        served, processor = self.info.served, self.info.get_hf_processor()
        asked, token = served.asked(hf_processor_mm_kwargs.get(KEY)), processor.image_token_id
        geometry: Any = served.geometry(asked)

        def placeholders(number: int) -> Any:
            images = mm_items.get_items("image", (ImageEmbeddingItems, ImageProcessorItems))
            if isinstance(images, ImageEmbeddingItems):
                rows = images.get_feature_size(number)
            else:
                tiles = int(out_mm_kwargs["image"][number]["image_num_patches"].data)
                rows = served.check_rows(asked, geometry.size(tiles))
            marked = [processor.start_image_token_id, *[token] * rows, processor.end_image_token_id]
            return PromptUpdateDetails.select_token_id(marked, token)

        return [PromptReplacement(modality="image", target=[token], replacement=placeholders)]


@MULTIMODAL_REGISTRY.register_processor(
    ScopeInternVLProcessor, info=ScopeInternVLInfo, dummy_inputs=InternS1DummyInputsBuilder
)
class ScopeInternVLForConditionalGeneration(PrunedModel, InternS1ForConditionalGeneration):  # type: ignore[misc]
    """vLLM's InternVL, with images selected before or after the projector; rows are picked after it."""

    def images(self, inputs: Any, specs: Sequence[str]) -> list[ImageTiles]:
        """The images, several tiles each."""
        geometry: Any = self.served.geometry(self.served.default)
        counts = inputs["num_patches"].tolist()
        tiles = torch.split(inputs["pixel_values"], counts)
        return [ImageTiles(part, geometry.size(len(part)), spec) for part, spec in zip(tiles, specs, strict=True)]

    def _image_pixels_to_features(self, vision_tower: Any, tiles: Tensor) -> Tensor:
        """(T, n, D) what the projector is given: patches, shuffled into tokens, without CLS."""
        patches = vision_tower(pixel_values=tiles)[:, 1:]
        rows, cols = self.served.geometry(self.served.default).tower.grid()
        grid = patches.view(len(patches), rows, cols, -1)
        shuffled: Tensor = self.pixel_shuffle(grid, scale_factor=self.downsample_ratio)
        return shuffled.flatten(1, 2)

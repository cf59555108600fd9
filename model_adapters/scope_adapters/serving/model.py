"""The part that all pruned models of vLLM share: a spec read at start, and images encoded by `Encoder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scope_adapters.serving import strict
from scope_adapters.serving.geometry import Size
from scope_adapters.serving.processing import MEDIA
from scope_adapters.serving.served import Served
from scope_adapters.serving.touch_points import check
from scope_adapters.serving.worker import Encoder, ImageTiles

check()


class PrunedModel:
    """Mixin for vLLM's class of a model."""

    config: Any
    vision_tower: Any
    supports_tower_connector_lora = False  # vLLM would size LoRA batches by the number of tokens before pruning

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        strict.check(vllm_config)
        self.served = Served(self.config)
        self.served.rehearse()
        self.batched_tokens = int(vllm_config.scheduler_config.max_num_batched_tokens)

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """(R_i, D) per item: rows for the language model, one for each placeholder of its prompt."""
        if kwargs.get("image_embeds") is not None:  # the client's own embeddings are not pruned
            return list(kwargs["image_embeds"])
        found: list[ImageTiles] = []
        for medium in MEDIA:
            if kwargs.get(medium.pixels) is not None:
                specs, keys = medium.of(kwargs)
                images = self.items(medium.name, kwargs, specs)
                found += [replace(image, key=key) for image, key in zip(images, keys, strict=True)]
        return self.encoder().encode(found) if found else []

    def items(self, name: str, given: Mapping[str, Any], specs: Sequence[str]) -> list[ImageTiles]:
        """The items of a medium in vLLM's input."""
        mine = {key: value for key, value in given.items() if not key.startswith("visual_pruner")}
        return self.images(self._parse_and_validate_image_input(**mine), specs)  # type: ignore[attr-defined]

    def encoder(self) -> Encoder:
        """The encoder, with batches of the size that the engine would use without pruning."""
        patches = self.served.geometry(self.served.default).patches
        return Encoder(
            self.served,
            self,
            lambda tiles: self._image_pixels_to_features(self.vision_tower, tiles),  # type: ignore[attr-defined]
            getattr(self, "image_newline", None),
            max(self.batched_tokens // patches, 1),
        )

    def images(self, inputs: Any, specs: Sequence[str]) -> list[ImageTiles]:
        """The images in vLLM's input, one tile each."""
        (size,) = self.served.geometry(self.served.default).canvases
        pairs = zip(inputs["pixel_values"], specs, strict=True)
        return [ImageTiles(tile[None], size, spec) for tile, spec in pairs]

    def tiled_images(self, inputs: Any, specs: Sequence[str]) -> list[ImageTiles]:
        """The images in vLLM's input, several tiles each, without tiles that only pad a batch."""
        geometry, images = self.served.geometry(self.served.default), []
        for pixels, shape, spec in zip(inputs["pixel_values"], inputs["image_sizes"], specs, strict=True):
            height, width = shape.tolist()
            size: Size = (int(height), int(width))
            images.append(ImageTiles(pixels[: geometry.tiles(size)], size, spec))
        return images

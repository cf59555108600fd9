"""Sizing of prompts: the number of placeholders of an image or a video, and checks of requests. No weights, no tower.

All errors of clients are raised here: an error while encoding would end the engine for all clients.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageEmbeddingItems, ImageProcessorItems, ImageSize
from vllm.multimodal.processing import PromptReplacement

from scope_adapters.serving import metrics, strict
from scope_adapters.serving.geometry import Size
from scope_adapters.serving.requested import KEY, unknown_options
from scope_adapters.serving.served import Served
from scope_adapters.serving.sizes import IMAGE, VIDEO
from scope_core import AttachError, SpecError


@dataclass(frozen=True)
class Medium:
    """vLLM's names for images or for videos.

    Attributes:
        name: ``"image"`` or ``"video"``.
        pixels: Its pixels.
        spec: A tensor beside the pixels of each item: its spec, as bytes of JSON.
        key: The bytes that stand for an item, if failures of parts are errors (see `scope_adapters.serving.strict`).
    """

    name: str
    pixels: str
    spec: str
    key: str

    @property
    def grid(self) -> str:
        """Its grid, in Qwen-VL."""
        return f"{self.name}_grid_thw"

    def of(self, given: Mapping[str, Any]) -> tuple[list[str], list[bytes]]:
        """The specs and the keys of a batch's items in the worker; no keys if failures of parts are no errors.

        Raises:
            AttachError: there are no specs.
        """
        specs, keys = given.get(self.spec), given.get(self.key)
        if specs is None:
            raise AttachError(
                f"{self.name}s came without '{self.spec}', so the prompt was not sized by the pruner's processor"
            )
        texts = [bytes(spec.tolist()).decode() for spec in specs]
        return texts, [b""] * len(texts) if keys is None else [bytes(key.tolist()) for key in keys]


MEDIA = (
    Medium(IMAGE, "pixel_values", "visual_pruner_spec", strict.FIELDS[IMAGE]),
    Medium(VIDEO, "pixel_values_videos", "visual_pruner_video_spec", strict.FIELDS[VIDEO]),
)


class PrunedInfo:
    """Mixin for vLLM's processing info of a model."""

    ctx: Any

    @functools.cached_property
    def served(self) -> Served:
        """The engine's spec.

        Raises:
            ScopeError: the spec is wrong, or cannot be served.
        """
        if KEY in (self.ctx.get_mm_config().mm_processor_kwargs or {}):
            raise SpecError(f"set the engine's '{KEY}' in hf_overrides; mm_processor_kwargs is for requests")
        config = self.ctx.get_hf_config()
        served = Served(config)
        folder = metrics.own_folder(str(getattr(config, metrics.KEY, "")))
        setattr(config, metrics.KEY, folder)  # workers get it with the config
        metrics.expose(folder, served.facts(str(self.ctx.model_config.model)))
        return served

    @property
    def model_id(self) -> str:
        """The model and the engine's spec: part of the key of everything that vLLM caches of an image."""
        return f"{super().model_id}|{self.served.identity(self.served.default)}"  # type: ignore[misc]

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """The media that are served; others are refused."""
        return dict.fromkeys(self.served.media)

    def validate_num_items(self, modality: str, num_items: int) -> None:
        """Refuse media that are not served, with the reason.

        Raises:
            ValueError: there are such items, or more than vLLM allows.
        """
        if num_items and (reason := self.served.refusal(modality)):
            raise ValueError(f"{KEY}: {reason}")
        super().validate_num_items(modality, num_items)  # type: ignore[misc]

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        """The number of placeholders of an image under the engine's spec."""
        return self.served.check_rows(self.served.default, (image_height, image_width))

    def get_image_size_with_most_features(self) -> Any:
        """The size of an image with the most placeholders, by which vLLM sizes its memory."""
        height, width = self.served.largest
        return ImageSize(width=width, height=height)


class PrunedProcessor:
    """Mixin for vLLM's processor of a model."""

    info: Any

    def _apply_hf_processor_main(self, mm_items: Any, hf_kwargs: Mapping[str, object]) -> Any:
        asked = self.info.served.asked(hf_kwargs.get(KEY))
        others = {name: value for name, value in hf_kwargs.items() if name != KEY}
        out = super()._apply_hf_processor_main(mm_items, others)  # type: ignore[misc]
        for medium in MEDIA:
            if medium.pixels in out:
                self._add(medium, mm_items, out, asked)
        return out

    def _add(self, medium: Medium, mm_items: Any, out: Any, asked: str) -> None:
        """Check the items of a medium, and put their spec beside their pixels."""
        sizes = self._sizes(medium, mm_items, out)
        for number, size in enumerate(sizes):
            self.info.served.check_rows(asked, size)
            self._check_pixels(medium, out, number, size)
        if strict.is_strict(self.info.get_hf_config()):
            keys = [list(strict.digest(pixels, asked)) for pixels in self._pixels(medium, out)]
            out[medium.key] = torch.tensor(keys, dtype=torch.uint8)
        out[medium.spec] = torch.tensor(list(asked.encode()), dtype=torch.uint8).repeat(len(sizes), 1)

    def _sizes(self, medium: Medium, mm_items: Any, out: Any) -> Sequence[Size]:
        """The sizes of the items that were processed: images."""
        images = mm_items.get_items("image", ImageProcessorItems)
        return [_size(images, number) for number in range(len(images))]

    def _pixels(self, medium: Medium, out: Any) -> Sequence[Any]:
        """The pixels of each of them."""
        return list(out[medium.pixels])

    def _check_pixels(self, medium: Medium, out: Any, number: int, size: Size) -> None:
        """Refuse an image whose tiles do not follow from its size: options of the request may change them.

        Raises:
            ValueError: names the shape.
        """
        config = self.info.get_hf_config().vision_config
        pixels, side = out["pixel_values"][number], int(config.image_size)
        tiles = self.info.served.geometry(self.info.served.default).tiles(size)
        whole = pixels if pixels.dim() == 4 else pixels[None]
        seen = tuple(out["image_sizes"][number].tolist()) if "image_sizes" in out else size
        if whole.shape[0] < tiles or tuple(whole.shape[1:]) != (config.num_channels, side, side) or seen != size:
            raise ValueError(
                f"image {number} of {size[1]} x {size[0]} pixels became {tuple(pixels.shape)}, not {tiles} tile(s) of "
                f"{side} x {side}; omit the request's options for the image processor"
            )

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object]) -> Any:
        fields = super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)  # type: ignore[misc]
        ours = {medium: MultiModalFieldConfig.batched(medium.name, keep_on_cpu=True) for medium in MEDIA}
        return {**fields, **{name: one for medium, one in ours.items() for name in (medium.spec, medium.key)}}

    def _get_mm_hashes(self, inputs: Any) -> Any:
        """Hashes that include the spec: otherwise vLLM uses a client's own name for an image as the whole key."""
        served = self.info.served
        if reason := unknown_options(inputs.hf_processor_mm_kwargs):
            raise ValueError(reason)
        identity = served.identity(served.asked(inputs.hf_processor_mm_kwargs.get(KEY)))
        named = {**inputs.hf_processor_mm_kwargs, KEY: identity}
        return super()._get_mm_hashes(replace(inputs, hf_processor_mm_kwargs=named))  # type: ignore[misc]

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        served, token = self.info.served, self.info.get_hf_config().image_token_index
        asked = served.asked(hf_processor_mm_kwargs.get(KEY))

        def placeholders(number: int) -> list[int]:
            images = mm_items.get_items("image", (ImageEmbeddingItems, ImageProcessorItems))
            if isinstance(images, ImageEmbeddingItems):
                return [token] * images.get_feature_size(number)
            return [token] * served.check_rows(asked, _size(images, number))

        return [PromptReplacement(modality="image", target=[token], replacement=placeholders)]


def _size(images: Any, number: int) -> Size:
    size = images.get_image_size(number)
    return size.height, size.width

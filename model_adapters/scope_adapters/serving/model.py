"""What our classes of vLLM's models share: a spec read at start, and pictures that go through `Encoder`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scope_adapters.serving.processing import FIELD
from scope_adapters.serving.served import Served
from scope_adapters.serving.touch_points import check
from scope_adapters.serving.worker import Encoder, Picture
from scope_core import AttachError

if TYPE_CHECKING:
    from scope_adapters.serving.geometry import Size

check()


class PrunedModel:
    """Mixed into vLLM's class of a model."""

    config: Any
    vision_tower: Any
    supports_tower_connector_lora = False  # vLLM would size the adapters' batches by tokens that are pruned away

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        self.served = Served(self.config)
        self.served.rehearse()
        self.batched_tokens = int(vllm_config.scheduler_config.max_num_batched_tokens)

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Rows for the language model, as many of each picture as its prompt has placeholders."""
        specs = kwargs.pop(FIELD, None)
        if kwargs.get("image_embeds") is not None:  # pruned or not, they are what the client wants read
            return list(kwargs["image_embeds"])
        inputs = self._parse_and_validate_image_input(**kwargs)  # type: ignore[attr-defined]
        if inputs is None:
            return []
        if specs is None:
            raise AttachError(f"pictures came without '{FIELD}', so the prompt was not sized by the pruner's processor")
        pictures = self.pictures(inputs, [bytes(spec.tolist()).decode() for spec in specs])
        return self.encoder().encode(pictures)

    def encoder(self) -> Encoder:
        """As much at once as the engine would encode without pruning."""
        patches = self.served.geometry(self.served.default).patches
        return Encoder(
            self.served,
            self,
            lambda tiles: self._image_pixels_to_features(self.vision_tower, tiles),  # type: ignore[attr-defined]
            getattr(self, "image_newline", None),
            max(self.batched_tokens // patches, 1),
        )

    def pictures(self, inputs: Any, specs: Sequence[str]) -> list[Picture]:
        """Of what vLLM hands over; a picture is one tile."""
        (size,) = self.served.geometry(self.served.default).canvases
        pairs = zip(inputs["pixel_values"], specs, strict=True)
        return [Picture(tile[None], size, spec) for tile, spec in pairs]

    def tiled_pictures(self, inputs: Any, specs: Sequence[str]) -> list[Picture]:
        """Likewise; a picture is several tiles, and tiles that only fill up a batch follow them."""
        geometry, made = self.served.geometry(self.served.default), []
        for pixels, shape, spec in zip(inputs["pixel_values"], inputs["image_sizes"], specs, strict=True):
            height, width = shape.tolist()
            size: Size = (int(height), int(width))
            made.append(Picture(pixels[: geometry.tiles(size)], size, spec))
        return made

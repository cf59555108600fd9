"""Qwen3-VL on Hugging Face: as Qwen2-VL, with features of earlier layers added inside the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor

from scope_adapters.adapters.qwen2_vl import MergedPatches, S
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_core.parts import ComponentSpec


class Qwen3VLSpec(ComponentSpec):
    """Qwen3-VL: ``model_type`` "qwen3_vl" on Hugging Face. Images only; calls with videos are refused."""

    name: Literal["qwen3_vl"] = "qwen3_vl"


class DeepStack(MergedPatches[S]):
    """DeepStack features go with their tokens: picked, moved and merged like the rows."""

    has_token_fields = True

    def features(self, base: Any, images: Mapping[str, Any]) -> Any:
        """The features, DeepStack's split by image: transformers 5.0 to 5.17 return those of all images as one."""
        output = super().features(base, images)
        output.deepstack_features = [
            self.split(base, images, layer) if hasattr(layer, "dim") else layer for layer in output.deepstack_features
        ]
        return output

    def with_rows(self, encoded: Encoded, rows: list[Tensor], remaining: Callable[[int, Tensor], Tensor]) -> Any:
        """The output with these rows, and with the same rows of every list of DeepStack features."""
        output = super().with_rows(encoded, rows, remaining)
        output.deepstack_features = [
            [remaining(number, image) for number, image in enumerate(layer)]
            for layer in encoded.output.deepstack_features
        ]
        return output


class Qwen3VL(DeepStack[Qwen3VLSpec]):
    """Qwen3-VL: attention over whole images in every layer of the tower."""

    model_type = "qwen3_vl"

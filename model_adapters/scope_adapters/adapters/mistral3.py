"""Mistral 3 (Small 3.1) on Hugging Face: images of any size in one tower pass, one token per 2 x 2 patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.compat.transformers import base_of, base_path
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.trial import tried
from scope_adapters.hosts.methods import check_host, unwrap
from scope_adapters.towers.trial import noise
from scope_core import Layout, TokensError, VisualTokens
from scope_core.adapters import Declaration, Offer, Session, resolve
from scope_core.parts import ComponentSpec

_PACKED = "its Pixtral tower packs all images into one sequence with rotary positions, which no probe can read yet"


class Mistral3Spec(ComponentSpec):
    """Mistral 3 on Hugging Face. Row breaks are text tokens between placeholders; they stay."""

    name: Literal["mistral3"] = "mistral3"


class Mistral3(HuggingFaceAdapter[Mistral3Spec]):
    """Candidates are taken after the patch merger (``vision``) or after the whole projector (``projected``)."""

    model_type = "mistral3"
    image_inputs = ("pixel_values", "image_sizes", "vision_feature_layer")
    given = "multi_modal_projector.linear_1"
    """Path of the module whose first argument has one row per token."""

    def check(self, model: Any) -> Declaration:
        """The declaration, once projector and features method were found; without attention of the tower."""
        model = unwrap(model)
        name = type(model).__name__
        check_host(model, name)
        for path in ("get_image_features", "vision_tower", self.given):
            resolve(model, f"{base_path(model)}.{path}", what=name)
        reasons = dict.fromkeys(("vision.received_attention", "vision.keys", "vision.hidden"), _PACKED)
        declaration = with_decoder(
            Declaration(
                model=name,
                points={
                    "vision": "merged patches, as the projector's layers get them",
                    "projected": "what the model reads",
                },
                offers=(Offer("projected"), Offer("text.embeddings")),
                reasons={**reasons, "vision.cls_attention": "its Pixtral tower has no CLS token"},
                geometry="one token per square of patches, row breaks are text",
                placeholder=int(model.config.image_token_id),
                modules={
                    "tower": f"{base_path(model)}.vision_tower",
                    "projector": f"{base_path(model)}.multi_modal_projector",
                },
                encoder=f"{base_path(model)}.get_image_features",
            ),
            model,
        )
        return replace(declaration, untried=tried(self, model, declaration))

    def trial_images(self, model: Any) -> Mapping[str, Any] | None:
        """One image of 2 x 3 tokens."""
        side, tower = self._side(model), base_of(model).vision_tower
        size = torch.tensor([[2 * side, 3 * side]])
        return {"pixel_values": noise(tower, 1, 3, *size[0].tolist()), "image_sizes": size}

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout of images of these (height, width), as resized by the processor.

        Raises:
            TokensError: a size is not a multiple of a token's side.
        """
        grids = [self._grid(unwrap(model), size) for size in sizes]
        return Layout.of([rows * cols for rows, cols in grids])

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass; shorter ones are padded with tokens that are not valid."""
        base, given = base_of(model), []
        with ExitStack() as undo:
            keep = base.get_submodule(self.given).register_forward_pre_hook(lambda _, args: given.append(args[0]))
            undo.callback(keep.remove)
            output = self.features(base, images)
        rows = list(output.pooler_output)
        counts = [len(row) for row in rows]
        projected = pad_sequence([row.detach() for row in rows], batch_first=True)
        merged = pad_sequence(list(given[0].detach().split(counts)), batch_first=True)
        places = [torch.arange(count, device=projected.device) for count in counts]
        cols = [self._grid(model, size)[1] for size in torch.as_tensor(images["image_sizes"]).tolist()]
        row = [place // width for place, width in zip(places, cols, strict=True)]
        col = [place % width for place, width in zip(places, cols, strict=True)]
        tokens = VisualTokens.of(
            merged if attachment.at == "vision" else projected,
            valid=pad_sequence([torch.ones_like(place, dtype=torch.bool) for place in places], batch_first=True),
            row=pad_sequence(row, batch_first=True, padding_value=-1),
            col=pad_sequence(col, batch_first=True, padding_value=-1),
            signals={"projected": projected} if "projected" in attachment.needs else {},
        )
        return Encoded(output, rows, tokens)

    def split(self, base: Any, images: Mapping[str, Any], rows: Tensor) -> Sequence[Tensor]:
        """The rows of each image, by image size."""
        sizes = torch.as_tensor(images["image_sizes"]).tolist()
        return torch.split(rows, [math.prod(self._grid(base, size)) for size in sizes])

    def _grid(self, model: Any, size: Sequence[int]) -> tuple[int, int]:
        side = self._side(model)
        if any(length % side or length <= 0 for length in size):
            raise TokensError(
                f"image size (height, width) = {tuple(size)} is not a multiple of {side} pixels, the side of a token; "
                f"give the size after the processor's resize (its `image_sizes`), or plan by counts: "
                f"Layout.of([tokens, ...])"
            )
        return int(size[0]) // side, int(size[1]) // side

    def _side(self, model: Any) -> int:
        """The side of a token in pixels."""
        return int(model.config.vision_config.patch_size) * int(model.config.spatial_merge_size)

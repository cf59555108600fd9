"""Mistral 3 (Small 3.1) on Hugging Face: images of any size packed into one tower pass, 2x2 patches a token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.compat.transformers import base_of, base_path
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import check_host, unwrap
from scope_core import Layout, TokensError, VisualTokens
from scope_core.adapters import Declaration, Offer, Session, resolve
from scope_core.parts import ComponentSpec

_PACKED = "its Pixtral tower attends with rotary positions over all images packed together, which no probe reads yet"


class Mistral3Spec(ComponentSpec):
    """Mistral 3 on Hugging Face. Row breaks are text tokens between placeholders, and stay."""

    name: Literal["mistral3"] = "mistral3"


class Mistral3(HuggingFaceAdapter[Mistral3Spec]):
    """Tokens are taken after the patch merger (``vision``) or after the whole projector (``projected``)."""

    model_type = "mistral3"
    image_inputs = ("pixel_values", "image_sizes", "vision_feature_layer")
    given = "multi_modal_projector.linear_1"
    """Path of the module whose first argument is one row per token, patches merged."""

    def matches(self, model: Any) -> bool:
        """By ``config.model_type``."""
        config = getattr(model, "config", None)
        return getattr(config, "model_type", None) == self.model_type and hasattr(model, "generate")

    def check(self, model: Any) -> Declaration:
        """Projector and features method resolved; the tower's attention is not offered."""
        model = unwrap(model)
        name = type(model).__name__
        check_host(model, name)
        for path in ("get_image_features", "vision_tower", self.given):
            resolve(model, f"{base_path(model)}.{path}", what=name)
        reasons = dict.fromkeys(("vision.received_attention", "vision.keys", "vision.hidden"), _PACKED)
        return with_decoder(
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

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """Tokens of images of the given (height, width), as the processor resized them.

        Raises:
            TokensError: a size is no multiple of a token's side.
        """
        grids = [self._grid(unwrap(model), size) for size in sizes]
        return Layout.of([rows * cols for rows, cols in grids])

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """One tile per image."""
        return Layout.of([len(row) for row in encoded.rows], prompts=prompts)

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """One pass over all images; shorter ones are padded with tokens that are not valid."""
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
        """By the images' sizes."""
        sizes = torch.as_tensor(images["image_sizes"]).tolist()
        return torch.split(rows, [math.prod(self._grid(base, size)) for size in sizes])

    def _grid(self, model: Any, size: Sequence[int]) -> tuple[int, int]:
        side = int(model.config.vision_config.patch_size) * int(model.config.spatial_merge_size)
        if any(length % side or length <= 0 for length in size):
            raise TokensError(
                f"an image of (height, width) = {tuple(size)} is no multiple of {side} pixels a token; give the size "
                f"after the processor's resize (its `image_sizes`), or plan by counts: Layout.of([tokens, ...])"
            )
        return int(size[0]) // side, int(size[1]) // side

"""Qwen2-VL on Hugging Face: packed patches, one token per block of 2 x 2, positions along three axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from scope_adapters.compat.signatures import parameters
from scope_adapters.compat.transformers import (
    base_of,
    base_path,
    counts_padding,
    takes_encoder_outputs,
    takes_text_positions,
)
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.prompt import Shortened, compact_positions
from scope_adapters.hosts.huggingface.trial import tried
from scope_adapters.hosts.methods import check_host, unwrap
from scope_adapters.towers.packed import PackedTower, padded, probe_packed, resolve_packed
from scope_adapters.towers.trial import noise
from scope_core import AttachError, Layout, TokensError, VisualTokens
from scope_core.adapters import Declaration, Offer, Session, resolve
from scope_core.parts import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


class Qwen2VLSpec(ComponentSpec):
    """Qwen2-VL: ``model_type`` "qwen2_vl" on Hugging Face. Images only; calls with videos are refused."""

    name: Literal["qwen2_vl"] = "qwen2_vl"


class MergedPatches(HuggingFaceAdapter[S]):
    """Models whose tower packs the patches of all images, and whose tokens are blocks of patches.

    Interception points: ``vision`` (hidden states after the last layer, averaged over a token's block) and
    ``projected`` (output of the merger). Kept tokens and the text after them keep the (time, row, column) positions
    that they have in the full prompt.
    """

    image_inputs = ("pixel_values", "image_grid_thw")
    lasting_inputs = ("image_grid_thw",)
    position_axes = (3, 4)
    state = ("rope_deltas",)
    numbers_itself = False
    whole = ""
    """Attribute of the tower that lists the layers without window attention; see `resolve_packed`."""

    def check(self, model: Any) -> Declaration:
        """The declaration, once tower, merger and the model's numbering of positions were found."""
        model = unwrap(model)
        name = type(model).__name__
        check_host(model, name)
        for path in ("get_image_features", "visual.merger", "get_rope_index", "rope_deltas"):
            resolve(model, f"{base_path(model)}.{path}", what=name)
        tower = self._tower(model)
        declaration = with_decoder(
            Declaration(
                model=name,
                points={
                    "vision": "what the merger is given, mean of each block",
                    "projected": "what the language model reads",
                },
                offers=(*tower.offers(), Offer("projected"), Offer("text.embeddings")),
                reasons=tower.reasons(),
                geometry=f"one token per block of {tower.side} x {tower.side} patches",
                placeholder=int(model.config.image_token_id),
                modules={"tower": tower.where, "layers": f"{tower.where}.blocks", "projector": f"{tower.where}.merger"},
                encoder=f"{base_path(model)}.get_image_features",
            ),
            model,
        )
        return replace(declaration, untried=tried(self, model, declaration))

    def trial_images(self, model: Any) -> Mapping[str, Any] | None:
        """One image of 2 x 3 tokens."""
        tower = self._tower(model)
        grid = torch.tensor([[1, 2 * tower.side, 3 * tower.side]])
        width = resolve(tower.module, "patch_embed.proj.weight", what=tower.where)[0].numel()
        return {"pixel_values": noise(tower.module, int(grid.prod()), width), "image_grid_thw": grid}

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout of images as the processor resized them, within limits that the model does not know.

        Raises:
            TokensError: a side is not a multiple of a token's side, so the size is not one after resizing.
        """
        model = unwrap(model)
        side = self._tower(model).side * int(model.config.vision_config.patch_size)
        for number, (height, width) in enumerate(sizes):
            if height % side or width % side or min(height, width) < side:
                near = " x ".join(str(max(round(length / side), 1) * side) for length in (height, width))
                raise TokensError(
                    f"image {number} is {height} x {width} pixels; {type(model).__name__}'s processor resizes sides to "
                    f"multiples of {side}, within limits that the model does not know. Give sizes after resizing "
                    f"(likely {near}), or counts from image_grid_thw: "
                    f"plan([t * h * w // {self._tower(model).side ** 2}, ...])"
                )
        return Layout.of([(height // side) * (width // side) for height, width in sizes])

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass over the patches of all images."""
        base, tower, pruner = base_of(model), self._tower(model), attachment.pruner
        pixels, grids = images["pixel_values"], images.get("image_grid_thw")
        patches = pixels.numel() // pixels.shape[-1]
        if grids is None or int(grids.prod(-1).sum()) != patches:
            given = "was not given" if grids is None else f"{grids.tolist()} makes {int(grids.prod(-1).sum())} patches"
            raise AttachError(
                f"pixel_values holds {patches} patches, but image_grid_thw {given}; pass both from one "
                f"result of the processor"
            )
        hidden = {"vision.hidden[-1]"} if attachment.at == "vision" else set()
        with probe_packed(tower, attachment.needs | hidden, dtype=pruner.dtype) as capture:
            output = self.features(base, images)
        rows = list(output.pooler_output)
        sizes = [len(row) for row in rows]
        signals = capture.signals(attachment.needs, sizes)
        if "projected" in attachment.needs:
            signals["projected"] = lambda: padded([row.detach() for row in rows])
        features = capture.hidden(-1, sizes) if hidden else padded([row.detach() for row in rows])
        cells = [_cells(grid, tower.side) for grid in grids.tolist()]
        row, col = (padded(list(axis), -1).to(features.device) for axis in zip(*cells, strict=True))
        return Encoded(output, rows, VisualTokens.of(features, valid=row >= 0, row=row, col=col, signals=signals))

    def split(self, base: Any, images: Mapping[str, Any], rows: Tensor) -> Sequence[Tensor]:
        """The rows of each image, by its grid."""
        side = base.visual.spatial_merge_size
        return torch.split(rows, (images["image_grid_thw"].prod(-1) // side**2).tolist())

    def positions(self, model: Any, kwargs: Mapping[str, Any], short: Shortened) -> Tensor | None:
        """Positions in the full prompt, as the model numbers them; text positions, used for masks, have no gaps."""
        base, full, text = base_of(model), kwargs.get("position_ids"), None
        ids, mask, kinds = kwargs["input_ids"], kwargs.get("attention_mask"), kwargs.get("mm_token_type_ids")
        asked = parameters(base.get_rope_index)
        if ("mm_token_type_ids" in asked and kinds is None) if full is None else full.dim() == 2:
            if full is None and not takes_encoder_outputs(model):
                raise AttachError(
                    f"mm_token_type_ids is missing, from which {type(model).__name__} numbers its positions: pass "
                    f"everything that the processor returned"
                )
            return None  # one axis: the caller's positions, or all numbered as text
        if full is None:
            grids = kwargs["image_grid_thw"]
            given = {"mm_token_type_ids": kinds, "image_grid_thw": grids, "attention_mask": mask}
            full, deltas = base.get_rope_index(ids, **{name: value for name, value in given.items() if name in asked})
            real = torch.ones_like(ids) if mask is None else mask.to(ids.device).ne(0).long()
            # new tokens are numbered by their place in the cache, which is shorter now
            dropped = short.dropped.sum(1, keepdim=True)
            fewer = ids.shape[1] - short.index.shape[1] if counts_padding(base) else dropped
            base.rope_deltas = deltas + fewer
            real = short.take(real, 0)
            text = (real.cumsum(1) - 1) * real
        elif len(full) == max(self.position_axes):
            text, full = compact_positions(full[0], short, mask), full[1:]
        axes = torch.stack([short.take(axis, 0, by_source=True) for axis in full])
        return axes if text is None or not takes_text_positions(base.language_model) else torch.cat([text[None], axes])

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Install, and restore `rope_deltas` on detaching: every call of the model leaves its own."""
        base = base_of(unwrap(model))
        undo.callback(setattr, base, "rope_deltas", base.rope_deltas)
        super().install(model, attachment, undo)

    def _tower(self, model: Any) -> PackedTower:
        return resolve_packed(model, f"{base_path(model)}.visual", full=self.whole)


def _cells(grid: Sequence[int], side: int) -> tuple[Tensor, Tensor]:
    """(N,) row and column of each token of an image of ``grid`` (time, rows, columns) patches."""
    frames, rows, cols = grid[0], grid[1] // side, grid[2] // side
    token = torch.arange(frames * rows * cols)
    return token // cols % rows, token % cols


class Qwen2VL(MergedPatches[Qwen2VLSpec]):
    """Qwen2-VL: attention over whole images in every layer of the tower."""

    model_type = "qwen2_vl"

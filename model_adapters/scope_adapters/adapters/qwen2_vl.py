"""Qwen2-VL on Hugging Face: packed patches, one token per block of 2 x 2, positions along three axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from scope_adapters.compat.transformers import base_of, base_path
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.position_axes import PositionAxes
from scope_adapters.hosts.huggingface.trial import tried
from scope_adapters.hosts.methods import check_host, unwrap
from scope_adapters.towers.packed import PackedTower, padded, probe_packed, resolve_packed
from scope_adapters.towers.trial import noise
from scope_core import AttachError, Layout, TokensError, VisualTokens
from scope_core.adapters import Declaration, Offer, Session, resolve
from scope_core.parts import ComponentSpec, ImageLayout

S = TypeVar("S", bound=ComponentSpec)


class Qwen2VLSpec(ComponentSpec):
    """Qwen2-VL: ``model_type`` "qwen2_vl" on Hugging Face. Images and videos."""

    name: Literal["qwen2_vl"] = "qwen2_vl"


class MergedPatches(PositionAxes[S]):
    """Models whose tower packs the patches of all images, and whose tokens are blocks of patches.

    A frame of a video is what the tower merges in time, usually two.

    Interception points: ``vision`` (hidden states after the last layer, averaged over a token's block) and
    ``projected`` (output of the merger). Kept tokens and the text after them keep the (time, row, column) positions
    that they have in the full prompt.
    """

    image_inputs = ("pixel_values", "image_grid_thw")
    video_inputs: tuple[str, ...] = ("pixel_values_videos", "video_grid_thw")
    tower = "visual"
    """Path of the tower, below the model without its head."""
    whole = ""
    """Attribute of the tower that lists the layers without window attention; see `resolve_packed`."""

    def check(self, model: Any) -> Declaration:
        """The declaration, once tower, merger and the model's numbering of positions were found."""
        model = unwrap(model)
        name = type(model).__name__
        check_host(model, name)
        for path in ("get_image_features", f"{self.tower}.merger", "get_rope_index", "rope_deltas"):
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

    def video_layout(self, model: Any, sizes: Sequence[tuple[int, int, int]]) -> Layout:
        """The layout of videos of (frames, height, width) as the processor sampled and resized them; see `layout`."""
        merged = int(unwrap(model).config.vision_config.temporal_patch_size)
        each = self.layout(model, [(height, width) for _, height, width in sizes]).images
        groups = [-(-frames // merged) for frames, _, _ in sizes]
        return Layout.of([[one.tokens] * n for one, n in zip(each, groups, strict=True)], videos=range(len(groups)))

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass over the patches of all images."""
        return self._encoded(model, images, attachment, self.image_inputs, self.features)

    def encode_videos(self, model: Any, videos: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded videos, by one pass over the patches of all videos. A frame is a group of those merged in time."""
        side = self._tower(model).side
        encoded = self._encoded(model, videos, attachment, self.video_inputs[:2], self.video_features)
        seconds = videos.get("second_per_grid_ts")
        every = [None] * len(encoded.rows) if seconds is None else torch.as_tensor(seconds).tolist()
        frames = [
            ImageLayout(
                tiles=(rows * cols // side**2,) * count,
                frames=(1,) * count,
                times=() if step is None else tuple(step * number for number in range(count)),
            )
            for (count, rows, cols), step in zip(videos[self.video_inputs[1]].tolist(), every, strict=True)
        ]
        return replace(encoded, geometry=frames)

    def _encoded(
        self,
        model: Any,
        given: Mapping[str, Any],
        attachment: Session,
        names: Sequence[str],
        features: Callable[[Any, Mapping[str, Any]], Any],
    ) -> Encoded:
        base, tower, pruner = base_of(model), self._tower(model), attachment.pruner
        pixels, grids = given[names[0]], given.get(names[1])
        patches = pixels.numel() // pixels.shape[-1]
        if grids is None or int(grids.prod(-1).sum()) != patches:
            held = "was not given" if grids is None else f"{grids.tolist()} makes {int(grids.prod(-1).sum())} patches"
            raise AttachError(
                f"{names[0]} holds {patches} patches, but {names[1]} {held}; pass both from one result of the processor"
            )
        if not bool(grids.gt(0).all()):
            raise AttachError(f"{names[1]} {grids.tolist()} has an item without frames, rows or columns; leave it out")
        hidden = {"vision.hidden[-1]"} if attachment.at == "vision" else set()
        with probe_packed(tower, attachment.needs | hidden, dtype=pruner.dtype) as capture:
            output = features(base, {name: given[name] for name in names})
        rows = list(output.pooler_output)
        sizes = [len(row) for row in rows]
        signals = capture.signals(attachment.needs, sizes)
        if "projected" in attachment.needs:
            signals["projected"] = lambda: padded([row.detach() for row in rows])
        features_at = capture.hidden(-1, sizes) if hidden else padded([row.detach() for row in rows])
        cells = [_cells(grid, tower.side) for grid in grids.tolist()]
        row, col = (padded(list(axis), -1).to(features_at.device) for axis in zip(*cells, strict=True))
        return Encoded(output, rows, VisualTokens.of(features_at, valid=row >= 0, row=row, col=col, signals=signals))

    def split(self, base: Any, images: Mapping[str, Any], rows: Tensor) -> Sequence[Tensor]:
        """The rows of each image or video, by its grid."""
        side = base.get_submodule(self.tower).spatial_merge_size
        (grids,) = (images[name] for name in ("image_grid_thw", "video_grid_thw") if name in images)
        return torch.split(rows, (grids.prod(-1) // side**2).tolist())

    def _tower(self, model: Any) -> PackedTower:
        return resolve_packed(model, f"{base_path(model)}.{self.tower}", full=self.whole)


def _cells(grid: Sequence[int], side: int) -> tuple[Tensor, Tensor]:
    """(N,) row and column of each token of an image of ``grid`` (time, rows, columns) patches."""
    frames, rows, cols = grid[0], grid[1] // side, grid[2] // side
    token = torch.arange(frames * rows * cols)
    return token // cols % rows, token % cols


class Qwen2VL(MergedPatches[Qwen2VLSpec]):
    """Qwen2-VL: attention over whole images in every layer of the tower."""

    model_type = "qwen2_vl"

"""Models of which nothing is declared: their geometry is what a trial with one blank image proves."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.geometry import check_proven, geometry_of, patches_of, placeholder_of, tower_of
from scope_adapters.adapters.shuffled import Patches
from scope_adapters.compat.blank import former_names, image_arguments
from scope_adapters.compat.transformers import base_of, base_path
from scope_adapters.hosts.huggingface.adapter import HuggingFaceAdapter
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.position_axes import PositionAxes
from scope_adapters.hosts.huggingface.prompt import runs
from scope_adapters.hosts.huggingface.proof import Geometry, Moving
from scope_adapters.hosts.huggingface.trial_prompt import items
from scope_adapters.hosts.methods import unwrap
from scope_adapters.towers.layouts import ResolvedTower
from scope_adapters.towers.probe import offers, probe, reasons
from scope_core import AttachError, Layout, TokensError, VisualTokens
from scope_core.adapters import Declaration, Offer, Session
from scope_core.parts import ComponentSpec, ImageLayout

S = TypeVar("S", bound=ComponentSpec)
_UNKNOWN = "its vision tower is not one whose layout is known, or its tokens are not squares of patches in a grid"
_OF_TOWER = ("vision.cls_attention", "vision.received_attention", "vision.keys", "vision.hidden", "vision.cls")


class ProvenRows(HuggingFaceAdapter[S]):
    """Models with one row for each placeholder. An item of their features (an image, a tile, a crop) is an image.

    Interception points: ``projected`` (what the language model reads) and ``vision`` (hidden states after the tower's
    last layer; the same as ``projected`` if the tower is not known).
    """

    reuses = False
    known: Geometry | None = None
    """What the trial found of the model that a copy is bound to; None before."""

    def bound(self, model: Any) -> HuggingFaceAdapter[S]:
        """A copy that declares what the trial found."""
        if self.known is not None:
            return self
        made = copy.copy(self)
        made.known = geometry_of(model)
        # those that the processor gives first, then those that it may leave out
        made.image_inputs = tuple(dict.fromkeys((*made.known.images, *image_arguments(model))))
        made.former_names = former_names(model)
        made.pooler, made.has_token_fields = made.known.pooler, made.known.layered
        take_videos(made, made.known.video)
        return made

    def check(self, model: Any) -> Declaration:
        """The declaration, once a blank image proved that rows and placeholders belong together."""
        model = unwrap(model)
        check_proven(model)
        known, tower = geometry_of(model), tower_of(model)
        places = f"in a grid of {known.grid.size[0]} x {known.grid.size[1]}" if known.grid else "in no proven places"
        shown = (
            f"as one blank image showed: {known.rows} tokens {places}"
            if known.rows
            else "proven when weights are loaded"
        )
        return with_decoder(
            Declaration(
                model=type(model).__name__,
                points={
                    "vision": "hidden states after the tower's last layer, mean of each token's patches"
                    if tower
                    else "what the language model reads, as at 'projected'",
                    "projected": "what the language model reads",
                },
                offers=(*(offers(tower) if tower else ()), Offer("projected"), Offer("text.embeddings")),
                reasons=reasons(tower) if tower else dict.fromkeys(_OF_TOWER, _UNKNOWN),
                has_cls=tower is not None and tower.layout.cls,
                architecture=tower.architecture if tower else "",
                geometry=shown,
                placeholder=placeholder_of(model),
                modules=dict(tower.paths) if tower else {},
                encoder=f"{base_path(model)}.get_image_features",
                places=known.grid is not None or not known.rows,
            ),
            model,
        )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """Not known.

        Raises:
            TokensError: always; says how to plan.
        """
        raise TokensError(
            f"adapter '{self.spec.name}' does not know how many tokens the processor of {type(unwrap(model)).__name__} "
            f"makes of an image; plan by counts of placeholders: plan([count, ...])"
        )

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """One tile per image."""
        return Layout.of([len(row) for row in encoded.rows], prompts=prompts)

    def video_placeholder(self, model: Any) -> int | None:
        """The id that the trial found to stand for videos; it may be that of images."""
        video = geometry_of(model).video
        return video.placeholder if isinstance(video, Moving) else None

    def encode_videos(self, model: Any, videos: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded videos, by one pass. A frame is as many of the grid as the trial saw merged in time.

        Raises:
            AttachError: rows and frames of the call do not agree.
        """
        known, grids = geometry_of(model), videos["video_grid_thw"].tolist()
        merged, placed = (video.merged, video.placed) if isinstance(video := known.video, Moving) else (1, False)
        output = self.video_features(base_of(model), videos)
        each, side = items(output.pooler_output), known.side
        frames = [
            ImageLayout((height * width // side**2,) * (-(-count // merged)), frames=(1,) * (-(-count // merged)))
            for count, height, width in grids
        ]
        counts = [video.tokens for video in frames]
        if sum(counts) != sum(map(len, each)):
            raise AttachError(
                f"{type(model).__name__} gives {sum(map(len, each))} rows for videos of {grids} patches, and "
                f"{sum(counts)} were expected: one frame for {merged} of the grid, one row for {side} x {side} patches"
            )
        rows = list(torch.split(torch.cat(each), counts))
        if self.has_token_fields:
            layers = [torch.cat(items(layer)) for layer in output.deepstack_features]
            output.deepstack_features = [torch.split(layer, counts) for layer in layers]
        projected = pad_sequence([row.detach() for row in rows], batch_first=True)
        cells = [
            _frame_cells(len(row), height // side, width // side, placed)
            for row, (_, height, width) in zip(rows, grids, strict=True)
        ]
        row, col = (pad_sequence(list(axis), True, -1).to(projected.device) for axis in zip(*cells, strict=True))
        valid = pad_sequence([torch.ones(count, dtype=torch.bool) for count in counts], True).to(projected.device)
        signals = {"projected": projected} if "projected" in attachment.needs else {}
        tokens = VisualTokens.of(projected, valid=valid, row=row, col=col, signals=signals)
        return Encoded(output, rows, tokens, geometry=frames)

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass.

        Raises:
            AttachError: rows and placeholders of the call do not agree.
        """
        needs, tower = attachment.needs, tower_of(model)
        wanted = needs | ({"vision.hidden[-1]"} if attachment.at == "vision" and tower else set())
        watched = probe(tower, wanted, dtype=attachment.pruner.dtype) if tower else nullcontext()
        with watched as capture:
            output = self.features(base_of(model), images)
        each = items(output.pooler_output)
        rows = by_image(each, ids, placeholder_of(model), joined=len(each) < _given(images))
        if self.has_token_fields:
            counts = [len(row) for row in rows]
            layers = [torch.cat(items(layer)) for layer in output.deepstack_features]
            output.deepstack_features = [torch.split(layer, counts) for layer in layers]
        projected = pad_sequence([row.detach() for row in rows], batch_first=True)
        signals: dict[str, Any] = {}
        if tower is not None and capture is not None:
            patches = _patches_of_all(model, tower, images, each, rows)
            found = capture.signals(wanted, patches.grid[0] * patches.grid[1])
            signals = {name: partial(patches.to_tokens, name, signal) for name, signal in found.items()}
        vision = attachment.at == "vision" and tower is not None
        features = signals["vision.hidden[-1]"]() if vision else projected
        given = {name: signal for name, signal in signals.items() if name in needs}
        if "projected" in needs:
            given["projected"] = projected
        row, col = (
            pad_sequence(list(axis), True, -1).to(projected.device)
            for axis in zip(*_cells(geometry_of(model), images, rows), strict=True)
        )
        valid = pad_sequence([torch.ones(len(one), dtype=torch.bool) for one in rows], True).to(projected.device)
        return Encoded(output, rows, VisualTokens.of(features, valid=valid, row=row, col=col, signals=given))


class ProvenAxes(PositionAxes[S], ProvenRows[S]):
    """The same, for models that number positions along several axes."""


def take_videos(adapter: HuggingFaceAdapter[Any], video: Moving | str) -> None:
    """Let an adapter's calls hold videos if a trial has proven how they enter, or refuse them with the reason."""
    if isinstance(video, Moving):
        adapter.video_inputs, adapter.video_pooler = video.inputs, video.pooler
    else:
        adapter.video_inputs, adapter.no_videos = (), video


def _patches_of_all(
    model: Any, tower: ResolvedTower, images: Mapping[str, Any], each: Sequence[Tensor], rows: Sequence[Tensor]
) -> Patches:
    """`patches_of`, once every image was seen to be one tile of the blank image's size.

    Raises:
        AttachError: signals of the tower cannot be dealt to the tokens.
    """
    patches = patches_of(geometry_of(model), tower)
    sizes, pixels = [len(row) for row in rows], images.get("pixel_values")
    if (
        patches is None
        or sizes != [len(item) for item in each]
        or set(sizes) != {len(patches.index)}
        or not isinstance(pixels, Tensor)
        or tower.grid(*pixels.shape[-2:]) != patches.grid
        or len(pixels) != len(rows)
    ):
        raise AttachError(
            f"{type(model).__name__}: signals of its tower cannot be dealt to {sizes} tokens of {len(each)} items; a "
            f"blank image has {geometry_of(model).rows}. Use a recipe that reads no signal of it, `at: projected`"
        )
    return patches


def _cells(known: Geometry, images: Mapping[str, Any], rows: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Rows and columns of each image's tokens; -1 where they are not proven."""
    grids, cells = images.get("image_grid_thw"), []
    for number, row in enumerate(rows):
        size = known.grid.size if known.grid and len(row) == known.rows else None
        if known.grid and grids is not None:
            frames, height, width = grids[number].tolist() if len(grids) == len(rows) else (0, 0, 0)
            whole = frames * height * width == len(row) * known.side**2
            size = (height // known.side, width // known.side) if whole else None
        token = torch.arange(len(row))
        nowhere = torch.full_like(token, -1)
        cells.append((nowhere, nowhere) if size is None else (token // size[1] % size[0], token % size[1]))
    return cells


def _frame_cells(count: int, rows: int, cols: int, placed: bool) -> tuple[Tensor, Tensor]:
    """(N,) rows and columns of a video's tokens, the same in each frame; -1 where they are not proven."""
    token, nowhere = torch.arange(count), torch.full((count,), -1)
    return (token // cols % rows, token % cols) if placed else (nowhere, nowhere)


def _given(images: Mapping[str, Any]) -> int:
    """The number of images of a call, as far as its arguments tell; 0 if not."""
    for name in ("image_sizes", "image_grid_thw", "pixel_values"):
        value = images.get(name)
        if value is not None and (name != "pixel_values" or getattr(value, "ndim", 0) == 4):
            return len(value)
    return 0


def by_image(each: Sequence[Tensor], ids: Tensor, placeholder: int, *, joined: bool = False) -> list[Tensor]:
    """Rows of each image: of each item; of each run of placeholders where items are single rows or span prompts.

    Args:
        each: Rows of each item.
        ids: (B, L) the prompts.
        placeholder: Id of image placeholders.
        joined: True if the model gives the rows of several images as one item.

    Raises:
        AttachError: there are more or fewer rows than placeholders.
    """
    total, wanted = sum(map(len, each)), int((ids == placeholder).sum())
    if total != wanted:
        raise AttachError(
            f"the prompts have {wanted} image placeholders (id {placeholder}), but the images {total} rows; pass ids "
            f"and pixels from one result of the processor"
        )
    ends, held = (ids == placeholder).sum(1).cumsum(0).tolist(), 0
    inside = not joined and any(len(item) > 1 for item in each)
    for item in each:
        inside &= not any(held < end < held + len(item) for end in ends)
        held += len(item)
    if inside:
        return list(each)
    return list(torch.split(torch.cat(list(each)), [stop - start for _, start, stop in runs(ids, placeholder)]))

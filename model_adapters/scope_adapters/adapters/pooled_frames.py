"""Videos of models that encode frame by frame, with one projector: patches may be pooled into fewer tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.projected import ProjectedTower, S
from scope_adapters.compat.signatures import parameters
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import unwrap
from scope_adapters.towers.canvas import CANVAS, no_canvas
from scope_core import AttachError, Layout, VisualTokens
from scope_core.adapters import Session
from scope_core.parts import ImageLayout, parse_signal

_BY_HEAD = ("vision.cls_attention", "vision.received_attention", "vision.keys")
"""Signals whose second axis is the heads; that of the others is the patches."""


class PooledFrames(ProjectedTower[S]):
    """Signals of patches are pooled as the model pools features."""

    lead = 0
    """Rows of each frame before those of its patches, such as CLS."""

    video_inputs: tuple[str, ...] = (
        "pixel_values_videos",
        "image_sizes_videos",
        "vision_feature_layer",
        "vision_feature_select_strategy",
    )

    @abstractmethod
    def pool(self, base: Any, values: Tensor) -> Tensor:
        """(F, m, C) values of each frame's tokens, from (F, n, C) values of its patches."""

    def ends(self, base: Any) -> str:
        """The treatment of rows that are no candidates: "keep", "drop" or "keep_if_row_kept"; "" if there are none."""
        return ""

    def apart(self, frames: int, rows: int) -> list[int]:
        """Numbers of the rows of a video that are no candidates, of ``rows`` for each frame; a newline by default."""
        return [frames * rows]

    def video_layout(self, model: Any, sizes: Sequence[tuple[int, int, int]]) -> Layout:
        """The layout of videos; the processor resizes all frames to one size, so all have as many tokens."""
        model = unwrap(model)
        tokens = self._tokens(base_of(model), self._tower(model).grid())
        return Layout(tuple(self._frames(base_of(model), tokens, count) for count, _, _ in sizes))

    def _tokens(self, base: Any, grid: tuple[int, int]) -> int:
        """Tokens of a frame of so many rows and columns of patches."""
        return self.pool(base, torch.zeros(1, grid[0] * grid[1], 1)).shape[1]

    def _frames(self, base: Any, tokens: int, count: int) -> ImageLayout:
        ends = self.ends(base)
        separators = 0 if ends in ("", "drop") else len(self.apart(count, tokens + self.lead))
        each = tokens if ends else tokens + self.lead
        return ImageLayout((each,) * count, frames=(1,) * count, separators=separators)

    def encode_videos(self, model: Any, videos: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded videos, by one pass over all frames."""
        base, pixels = base_of(model), videos["pixel_values_videos"]
        if not isinstance(pixels, Tensor) or pixels.dim() != 5 or not all(pixels.shape):
            shape = tuple(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
            raise AttachError(
                f"pixel_values_videos is {shape}; {type(model).__name__} takes one tensor (videos, frames, channels, "
                f"height, width) with at least one frame, so the frames of all videos must be of one size and number"
            )
        count, frames = pixels.shape[:2]
        known = {"pixel_values_videos", *parameters(type(base).get_video_features)}
        taken = {name: videos[name] for name in self.video_inputs if name in videos and name in known}
        output, seen, capture = self.watched(model, taken, attachment, self.video_features)
        rows = [row.flatten(0, -2) for row in output.pooler_output]
        if len(rows) == count * frames:  # one entry for each frame
            rows = [torch.cat(rows[first : first + frames]) for first in range(0, len(rows), frames)]
        grid, ends = self._tower(model).grid(*pixels.shape[-2:]), self.ends(base)
        tokens = self._tokens(base, grid)
        whole = frames * (tokens + self.lead)
        apart = self.apart(frames, tokens + self.lead) if ends else []
        newline = whole in apart
        if newline and len(rows[0]) == whole:  # up to 4.57, forward() adds it
            rows = [torch.cat([row, base.image_newline[None].to(row)]) for row in rows]
        if [len(row) for row in rows] != [whole + newline] * count:
            raise AttachError(
                f"{type(base).__name__} gives {[len(row) for row in rows]} rows of {count} videos of {frames} frames, "
                f"and {tokens + self.lead} were expected of each frame"
            )
        lead = 0 if ends else self.lead  # candidates before the patches of a frame
        places = torch.tensor(sorted(set(range(whole)).difference(apart)))
        projected = torch.stack([row[places.to(row.device)] for row in rows])

        def by_video(values: Tensor) -> Tensor:
            """(V, F * m, ...) from (V * F, n, ...) of the patches, or of the rows of a frame."""
            flat = values.flatten(2) if values.dim() > 2 else values[..., None]
            first, rest = flat[:, : flat.shape[1] - grid[0] * grid[1]], flat[:, -grid[0] * grid[1] :]
            if flat.shape[1] >= grid[0] * grid[1]:
                flat = torch.cat([first[:, first.shape[1] - lead :], self.pool(base, rest)], 1)
            return flat.reshape(count, frames * (tokens + lead), *values.shape[2:])

        def signal(name: str, patches: Callable[[], Tensor]) -> Tensor:
            axis = 2 if parse_signal(name)[0] in _BY_HEAD else 1
            return by_video(patches().movedim(axis, 1)).movedim(1, axis)

        found = capture.signals(attachment.needs, grid[0] * grid[1] + lead)
        signals: dict[str, Callable[[], Tensor]] = {name: partial(signal, name, each) for name, each in found.items()}
        if "projected" in attachment.needs:
            signals["projected"] = lambda: projected.detach()
        features = by_video(seen["vision"]) if attachment.at == "vision" else projected
        if CANVAS in attachment.needs:
            signals[CANVAS] = lambda: no_canvas(features)
        row, col = (axis.repeat(count, frames).to(features.device) for axis in _cells(tokens, lead))
        candidates = VisualTokens.of(features.detach(), row=row, col=col, signals=signals)
        return Encoded(
            output,
            rows,
            candidates,
            places=[places for _ in rows] if ends else None,
            separators=partial(_stay, ends, apart) if ends else None,
            geometry=[self._frames(base, tokens, frames)] * count,
            project=self.project(model, attachment),
        )


def _cells(tokens: int, lead: int) -> tuple[Tensor, Tensor]:
    """(1, lead + tokens) row and column of a frame's tokens; -1 before its patches, and where they form no square."""
    side, token = isqrt(tokens), torch.arange(-lead, tokens)[None]
    nowhere = (token < 0) | (side * side != tokens)
    return (token // side).masked_fill(nowhere, -1), (token % side).masked_fill(nowhere, -1)


def _stay(ends: str, apart: Sequence[int], video: int, kept: Tensor) -> Tensor:
    """(n,) bool: the rows apart from candidates that stay, as ``ends`` asks."""
    there = torch.zeros_like(kept)
    there[torch.tensor(apart, device=kept.device)] = True
    stays = ends == "keep" or (ends == "keep_if_row_kept" and bool((kept & ~there).any()))
    return there & stays

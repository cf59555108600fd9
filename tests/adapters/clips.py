"""Prompts with videos, and images beside them, for tiny LLaVA-like models that pool frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adapters import anyres
from adapters.models import PLACEHOLDER


@dataclass(frozen=True)
class Clips:
    """Prompts with videos of as many frames each.

    Attributes:
        ids: (B, L).
        mask: (B, L).
        frames: (V, F, 3, H, W).
        videos: Videos in each prompt.
        images: Prompts with the images of each prompt; None for videos alone.
    """

    ids: Tensor
    mask: Tensor
    frames: Tensor
    videos: tuple[int, ...]
    images: anyres.Prompts | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """Keyword arguments as the processor makes them."""
        given = {} if self.images is None or not self.images.pixels else self.images.inputs
        given |= {"input_ids": self.ids, "attention_mask": self.mask}
        return {**given, "pixel_values_videos": self.frames} if len(self.frames) else given

    def row(self, number: int) -> Clips:
        """One prompt alone, without padding."""
        real, first = self.mask[number].bool(), sum(self.videos[:number])
        return Clips(
            self.ids[number : number + 1, real],
            self.mask[number : number + 1, real],
            self.frames[first : first + self.videos[number]],
            (self.videos[number],),
            None if self.images is None else self.images.row(number),
        )


def clips(model: Any, *rows: list[Any], frames: int = 2, side: str = "left") -> Clips:
    """Prompts from recipes: ``[3, "video", 4, (40, 50)]`` is text, a video, text, an image of 40 x 50 pixels."""
    generator = torch.Generator().manual_seed(2)
    still = [[piece for piece in row if piece != "video"] for row in rows]
    images = anyres.prompts(model, *still) if any(isinstance(p, tuple) for row in still for p in row) else None
    videos = tuple(row.count("video") for row in rows)
    size = model.config.vision_config.image_size
    pixels = torch.randn(sum(videos), frames, 3, size, size, generator=generator)
    tokens = frames * (anyres.GRID // 2) ** 2 + hasattr(model.model, "apply_pooling")  # OneVision adds a newline
    held = iter(() if images is None else images.placeholders)
    made = []
    for row in rows:
        ids = [1]
        for piece in row:
            if piece == "video":
                ids += [model.config.video_token_id] * tokens
            elif isinstance(piece, tuple):
                ids += [PLACEHOLDER] * next(held)
            else:
                ids += torch.randint(10, 140, (piece,), generator=generator).tolist()
        made.append(ids)
    longest = max(map(len, made))
    full, mask = torch.zeros(2, len(made), longest, dtype=torch.int64)
    for number, ids in enumerate(made):
        where = slice(longest - len(ids), None) if side == "left" else slice(0, len(ids))
        full[number, where], mask[number, where] = torch.tensor(ids), 1
    return Clips(full, mask, pixels, videos, images)

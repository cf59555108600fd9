"""Idefics3 on Hugging Face: crops in rows and columns, one token per square of patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeVar

from pydantic import Field
from torch import Tensor

from scope_adapters.adapters.shuffled import Shuffled
from scope_adapters.compat.transformers import tiles_of
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_core import AttachError
from scope_core.adapters import Session
from scope_core.parts import ComponentSpec


class Idefics3Spec(ComponentSpec):
    """Idefics3 on Hugging Face.

    Tiles are crops. Crops belong to one image if the prompt frames them as the processor does: one
    ``<fake_token_around_image>`` between crops, two between images. Without such frames, every unbroken run of
    placeholders is an image.
    """

    name: Literal["idefics3"] = "idefics3"
    crops: int = Field(4, ge=0, le=8)
    """Crops along the longest side of an image: the processor's ``size["longest_edge"]`` over the side of a crop. 0 if
    the processor does not split images. Only plans for image sizes use it."""


S = TypeVar("S", bound=Idefics3Spec)


class Crops(Shuffled[S]):
    """SigLIP-like tower without CLS token; crops row by row, the overview last.

    Padded patches are candidates, since the model reads them; they receive no attention.
    """

    image_inputs = ("pixel_values", "pixel_attention_mask")

    geometry = "one token per square of patches (attention summed over them, keys and hidden states averaged)"
    tower = "vision_model"
    projector = given = "connector.modality_projection"
    merging = "connector.pixel_shuffle"
    processor: str
    """Name of the image processor's class."""

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The whole last layer."""
        return -1, "full"

    def trial_images(self, model: Any) -> Mapping[str, Any] | None:
        """One image of one crop."""
        images = super().trial_images(model) or {}
        return {name: pixels[None] for name, pixels in images.items()}

    def merge(self, base: Any, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """The model's own shuffling, which takes its scale beside the patches."""
        shuffled: Tensor = base.connector.pixel_shuffle(values, base.connector.scale_factor)
        return shuffled

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images.

        Raises:
            AttachError: a prompt has more or fewer placeholders than whole rows of ``pixel_values`` have tokens. A row
                is usually a prompt, or one of several videos in a prompt.
        """
        encoded = super().encode(model, images, ids, attachment)
        pixels, tokens = images["pixel_values"], sum(map(len, encoded.rows))
        crops = pixels.flatten(2).ne(0).any(-1).sum(1)  # empty crops fill up shorter rows
        given = (crops * (tokens // max(int(crops.sum()), 1))).tolist()
        held = (ids == model.config.image_token_id).sum(1).tolist()
        ends = {0, *accumulate(given)}
        if sum(given) == tokens and (apart := [row for row, end in enumerate(accumulate(held)) if end not in ends]):
            raise AttachError(
                f"prompt {apart[0]} has {held[apart[0]]} image placeholders, but the rows of pixel_values fill {given}"
                f"; put the crops of each prompt into rows of its own, and fill up shorter rows with zeros"
            )
        return encoded

    def grouped(self, ids: Tensor, found: Sequence[tuple[int, int, int]]) -> list[int]:
        """The image of each run; crops with one framing token between them are one image."""
        frames, prompts, images = _frames(ids, found), ids.tolist(), [0] * len(found)
        for place, ((row, _, stop), (below, start, _)) in enumerate(pairwise(found), 1):
            same = row == below and row in frames and prompts[row][stop:start].count(frames[row]) == 1
            images[place] = images[place - 1] + (not same)
        return images

    def tiles(self, model: Any, size: tuple[int, int]) -> int:
        """The number of tiles, from the model's own image processor."""
        side, spec = int(model.config.vision_config.image_size), self.spec
        count = tiles_of(
            self.model_type,
            self.processor,
            size,
            size={"longest_edge": side * max(spec.crops, 1)},
            max_image_size={"longest_edge": side},
            do_image_splitting=spec.crops > 0,
        )
        return max(count, 1)


def _frames(ids: Tensor, found: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """The token that frames crops, by prompt: the one after the last crop, if it also stands before the first."""
    first, last = {row: start for row, start, _ in reversed(found)}, {row: stop for row, _, stop in found}
    closing = {row: int(ids[row, stop]) for row, stop in last.items() if stop < ids.shape[1]}
    return {row: token for row, token in closing.items() if bool((ids[row, : first[row]] == token).any())}


class Idefics3(Crops[Idefics3Spec]):
    """Idefics3 on Hugging Face."""

    model_type = "idefics3"
    processor = "Idefics3ImageProcessor"

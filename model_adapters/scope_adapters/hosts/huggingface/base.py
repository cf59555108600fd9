"""The declarations that an adapter makes of a Hugging Face model; `adapter` has the machinery."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from scope_adapters.compat.features import image_features
from scope_adapters.compat.transformers import without_weights
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.prompt import Shortened
from scope_core import AdapterError, Layout
from scope_core.adapters import ModelAdapter, Session
from scope_core.parts import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


class HuggingFaceModel(ModelAdapter[S]):
    """The declarations of a Hugging Face model: its arguments, and how images become rows and candidates."""

    model_type: str
    """``config.model_type`` of the models that the adapter serves."""

    geometry: str = "one token per patch"
    """The relation of tokens to patches, in words, for lists."""

    image_inputs: tuple[str, ...] = ("pixel_values", "image_sizes")
    """Arguments that hold images or say how to encode them; a call has images if it has the first of them."""

    video_inputs: tuple[str, ...] = ()
    """The same for videos; empty if calls with videos are refused."""

    former_names: Mapping[str, str] = {}
    """Names of arguments in calls with older processors, and the names that ``forward`` has for them now."""

    pooler: Literal["list", "tensor"] = "list"
    """The form of image features that the model's forward takes: a list of (n_i, D), or one tensor."""

    video_pooler: Literal["list", "tensor"] = "list"
    """The same for videos."""

    lasting_inputs: tuple[str, ...] = ()
    """Arguments of `image_inputs` or `video_inputs` that the shortened call keeps, since the model reads them for more
    than encoding."""

    refused_inputs: tuple[str, ...] = ("pixel_values_videos",)
    """Arguments whose content cannot be pruned: calls with them are refused rather than run in full, unless they are
    among `video_inputs`."""

    no_videos: str = ""
    """The reason why videos are refused, for the message."""

    shares_prefix: bool = False
    """True if the decoder is causal and numbers positions one by one, so that prompts with the same beginning can
    continue from one cache."""

    state: tuple[str, ...] = ()
    """Attributes of the base model that a call sets and later decoding steps read."""

    position_axes: tuple[int, ...] = ()
    """The numbers of axes that position ids may have, (axes, B, L), besides the plain (B, L)."""

    first_position: int = 0
    """Number of the first position in the language model."""

    has_token_fields: bool = False
    """True if features of further layers go with each row (DeepStack): they are picked, moved and merged alike."""

    numbers_itself: bool = True
    """True if the model numbers the positions of a shortened prompt by itself; otherwise see `positions`."""

    def matches(self, model: Any) -> bool:
        """True if ``config.model_type`` is this adapter's and the model has ``generate``."""
        config = getattr(model, "config", None)
        return getattr(config, "model_type", None) == self.model_type and hasattr(model, "generate")

    def without_weights(self, folder: Path) -> Any:
        """The model that ``config.json`` describes, on the meta device; None if it is of another type."""
        try:
            described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(described, dict) or described.get("model_type") != self.model_type:
            return None
        return without_weights(folder)

    @abstractmethod
    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass of tower and projector under a probe for the signals that the pruner needs.

        Args:
            model: The model, unwrapped.
            images: Arguments of `image_inputs` that the call has.
            ids: (B, L) the caller's prompt, for models that group tiles by it.
            attachment: The session of the attached pruner.
        """

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles and prompts of the encoded images; by default, each image is one tile, and every row a candidate."""
        return Layout.of([len(row) for row in encoded.rows], prompts=prompts)

    def video_placeholder(self, model: Any) -> int | None:
        """Id of video placeholders; None if the model has none."""
        found = getattr(model.config, "video_token_id", getattr(model.config, "video_token_index", None))
        return None if found is None else int(found)

    def encode_videos(self, model: Any, videos: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded videos, as `encode` for images: one group of tokens per video, frame by frame.

        ``geometry`` has the `ImageLayout` of each video, with its frames and, where known, their times.
        """
        raise NotImplementedError(f"adapter '{self.spec.name}' has `video_inputs`, but no `encode_videos`")

    def video_layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Frames and prompts of the encoded videos; by default, from `Encoded.geometry`."""
        return Layout(tuple(replace(one, prompt=row) for one, row in zip(encoded.geometry, prompts, strict=True)))

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout of images of these (height, width) in pixels, for plans.

        Raises:
            AdapterError: the adapter does not say.
        """
        raise AdapterError(
            f"adapter '{self.spec.name}' does not say how many tokens an image of a size has, so image sizes are not "
            f"enough for a plan; give numbers of tokens: pruner.plan([256, 256]). Authors override `layout`"
        )

    def with_rows(self, encoded: Encoded, rows: list[Tensor], remaining: Callable[[int, Tensor], Tensor]) -> Any:
        """A fresh features output that holds only ``rows`` (beam search expands it in place).

        Args:
            encoded: The encoded images with all rows.
            rows: (k_i, D) per image: the rows that stay.
            remaining: ``(image, (n_i, D) values) -> (k_i, D)``: further features of the tokens, one row for each, as
                they are for the rows that stay: picked, moved and merged alike.
        """
        heavy = ("pooler_output", "hidden_states", "attentions")
        rest = {name: value for name, value in encoded.output.items() if name not in heavy}
        output = type(encoded.output)(**rest, pooler_output=rows)
        if self.has_token_fields:
            output.deepstack_features = [
                [remaining(number, image) for number, image in enumerate(layer)]
                for layer in encoded.output.deepstack_features
            ]
        return output

    def trial_images(self, model: Any) -> Mapping[str, Any] | None:
        """Arguments of `image_inputs` for one small image, tried when attaching; None: nothing is tried.

        Pixels should be noise (see `noise`), so that tokens differ.
        """
        return None

    def trial_pass(self, model: Any) -> AbstractContextManager[Any]:
        """A context in which the tower runs no more layers than geometry needs."""
        return nullcontext()

    def features(self, base: Any, images: Mapping[str, Any]) -> Any:
        """The result of one pass of tower and projector: the model's own ``get_image_features``."""
        return self._features(base, images, "get_image_features")

    def _features(self, base: Any, images: Mapping[str, Any], of: str) -> Any:
        output = image_features(base, images, lambda rows: self.split(base, images, rows), of)
        if self.has_token_fields:  # transformers 5.0 to 5.17 return those of all images as one
            output.deepstack_features = [
                self.split(base, images, layer) if hasattr(layer, "dim") else layer
                for layer in output.deepstack_features
            ]
        return output

    def video_features(self, base: Any, videos: Mapping[str, Any]) -> Any:
        """The result of one pass of tower and projector: the model's own ``get_video_features``."""
        return self._features(base, videos, "get_video_features")

    def split(self, base: Any, images: Mapping[str, Any], rows: Tensor) -> Sequence[Tensor]:
        """The rows of each image, from (R, D) rows of all images, which some models return before transformers 5.0."""
        return [rows]

    def positions(self, model: Any, kwargs: Mapping[str, Any], short: Shortened) -> Tensor | None:
        """Position ids of the shortened prompt if the model cannot number it by itself; None if it can.

        Args:
            model: The model, unwrapped.
            kwargs: The caller's full call with its images. Position ids of several axes (`position_axes`) must be
                shortened here.
            short: The positions that remain.
        """
        return None

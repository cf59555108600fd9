"""What an adapter declares of a Hugging Face model; the machinery is in `adapter`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from torch import Tensor

from scope_adapters.compat.features import image_features
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.prompt import Shortened
from scope_core import Layout
from scope_core.adapters import ModelAdapter, Session
from scope_core.parts import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


class HuggingFaceModel(ModelAdapter[S]):
    """What an adapter declares of a Hugging Face model: its arguments, and how images become rows and candidates."""

    image_inputs: tuple[str, ...] = ("pixel_values", "image_sizes")
    """Arguments that carry images or say how to encode them; the first decides whether a call has any."""

    pooler: Literal["list", "tensor"] = "list"
    """What the model's forward takes as image features: a list of (n_i, D), or one tensor."""

    lasting_inputs: tuple[str, ...] = ()
    """Those of `image_inputs` that go on with the shortened call, since the model reads them for more than encoding."""

    refused_inputs: tuple[str, ...] = ("pixel_values_videos",)
    """Arguments that bring what nobody here can prune: calls with them are refused rather than run in full."""

    shares_prefix: bool = False
    """Whether the decoder is causal all through and numbers its positions plainly, so that prompts which begin alike
    can go on from one cache."""

    state: tuple[str, ...] = ()
    """Attributes of the base model that a call leaves on it and steps behind the prompt read."""

    position_axes: tuple[int, ...] = ()
    """Which numbers of axes the model's position ids may have, (axes, B, L), besides the plain (B, L)."""

    has_token_fields: bool = False
    """The model keeps more about each token than its row; see `with_rows`."""

    numbers_itself: bool = True
    """The model numbers the positions of a shortened prompt by itself; where it does not, see `positions`."""

    @abstractmethod
    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Run tower and projector once, under a probe for the signals that the pruner needs.

        Args:
            model: The model, unwrapped.
            images: Those of `image_inputs` that the call brought.
            ids: (B, L) the caller's prompt, for models whose pictures are grouped by it.
            attachment: Who is pruning, and by which spec.
        """

    @abstractmethod
    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles and prompts of the encoded images."""

    def with_rows(self, encoded: Encoded, rows: list[Tensor], flags: list[Tensor]) -> Any:
        """A fresh features output that holds only ``rows`` (beam search expands it in place).

        Args:
            encoded: The full one.
            rows: (k_i, D) per image: what stays.
            flags: (n_i,) bool per image: which rows these are, for further per-token fields.
        """
        heavy = ("pooler_output", "hidden_states", "attentions")
        rest = {name: value for name, value in encoded.output.items() if name not in heavy}
        return type(encoded.output)(**rest, pooler_output=rows)

    def features(self, base: Any, images: Mapping[str, Any]) -> Any:
        """One pass of tower and projector: the model's own ``get_image_features``."""
        return image_features(base, images, lambda rows: self.split(base, images, rows))

    def split(self, base: Any, images: Mapping[str, Any], rows: Tensor) -> Sequence[Tensor]:
        """Rows by image, from (R, D) rows of all images, as releases before 5.0 return them for some models."""
        return [rows]

    def positions(self, model: Any, kwargs: Mapping[str, Any], short: Shortened) -> Tensor | None:
        """Position ids of the shortened prompt where the model cannot number it by itself; None where it can.

        Args:
            model: The model, unwrapped.
            kwargs: The caller's full call, image arguments included. Position ids of several axes, which only models
                with `position_axes` get, have to be shortened here.
            short: Which positions remain.
        """
        return None

"""The Hugging Face host: encode once, select, shorten the prompt, pass the kept features on.

``generate`` and ``forward`` of one model instance are wrapped. Images are encoded once under a one-layer
probe, and placeholders of dropped tokens leave ids, mask and every per-token tensor. The kept rows go in as
``mm_encoder_outputs``, a public argument since transformers 5.18, and before that as input embeddings
(`scope_adapters.hosts.huggingface.embeddings`). No model code is replaced.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from scope_adapters.compat.features import image_features
from scope_adapters.compat.transformers import base_of, takes_encoder_outputs
from scope_adapters.hosts.huggingface import embeddings
from scope_adapters.hosts.huggingface.call import Call
from scope_adapters.hosts.huggingface.in_decoder import inside, refuse_reuse
from scope_adapters.hosts.methods import Method, check_free, unwrap
from scope_core import ComponentSpec, Encoding, ModelAdapter, replace_attribute

if TYPE_CHECKING:
    from torch import Tensor

    from scope_adapters.hosts.huggingface.image_rows import Encoded
    from scope_adapters.hosts.huggingface.prompt import Shortened
    from scope_core import Asked, Attachment, Layout, Memo

S = TypeVar("S", bound=ComponentSpec)


class HuggingFaceAdapter(ModelAdapter[S]):
    """The sequence side of every Hugging Face model that takes ``mm_encoder_outputs``.

    Subclasses declare where things are and how images become candidates.
    """

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

    @property
    def reuses(self) -> bool:  # type: ignore[override]
        """Models with further per-token fields, or positions that depend on the pictures, go by plain calls."""
        plain = HuggingFaceAdapter
        return type(self).with_rows is plain.with_rows and type(self).positions is plain.positions

    @abstractmethod
    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Attachment) -> Encoded:
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

    def encode_once(
        self, model: Any, inputs: Mapping[str, Any], attachment: Attachment, memo: Memo | None = None
    ) -> Encoding:
        """One pass of tower and projector."""
        import torch

        from scope_adapters.towers.memo import remembering

        refuse_reuse(attachment)
        with torch.no_grad(), remembering(memo):
            encoded, layout, _ = Call(self, unwrap(model), attachment).encode(inputs)
        return Encoding(encoded.tokens, layout, encoded)

    def answer(self, model: Any, asked: Sequence[Asked], attachment: Attachment, **options: Any) -> list[Tensor]:
        """One batch; what prompts share is computed once where the decoder allows that."""
        from scope_adapters.hosts.huggingface.answer import answer

        refuse_reuse(attachment)
        return answer(Call(self, unwrap(model), attachment), asked, options)

    def install(self, model: Any, attachment: Attachment, undo: ExitStack) -> None:
        """Wrap ``forward`` and ``generate`` of this instance."""
        inner = unwrap(model)
        check_free(inner, "forward")
        call = Call(self, inner, attachment, inside(inner, attachment, undo))
        for name, change in (("forward", call.forward), ("generate", call.generate)):
            replace_attribute(inner, name, Method(getattr(inner, name), change, attachment), undo)
        if not takes_encoder_outputs(inner):
            embeddings.install(base_of(inner), undo)
        elif self.pooler == "tensor":
            undo.callback(base_of(inner).register_forward_pre_hook(_as_tensor, with_kwargs=True).remove)


def _as_tensor(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Features reach generate as a list, which is what beam search can split by prompt; some forwards want a tensor."""
    import torch

    given = kwargs.get("mm_encoder_outputs") or {}
    if isinstance(getattr(given.get("image"), "pooler_output", None), list):
        output = copy.copy(given["image"])
        output.pooler_output = torch.cat(output.pooler_output)[None]
        kwargs = {**kwargs, "mm_encoder_outputs": {**given, "image": output}}
    return args, kwargs

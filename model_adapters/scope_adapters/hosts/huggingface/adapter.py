"""The Hugging Face host: encode once, select, shorten the prompt, pass the kept features on.

``generate`` and ``forward`` of one model instance are wrapped. Images are encoded once, while a probe records the
signals. Placeholders of dropped tokens are removed from ids, mask and every per-token tensor. The kept rows are passed
as ``mm_encoder_outputs``, a public argument since transformers 5.18, and before that as input embeddings
(`scope_adapters.hosts.huggingface.embeddings`). No model code is replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from scope_adapters.compat.transformers import base_of, base_path, takes_encoder_outputs
from scope_adapters.hosts.huggingface import embeddings, full_prompt
from scope_adapters.hosts.huggingface.answer import answer
from scope_adapters.hosts.huggingface.arguments import renamed
from scope_adapters.hosts.huggingface.attention_bias import Biased, check_bias
from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.call import Call
from scope_adapters.hosts.huggingface.decoder.offers import with_decoder
from scope_adapters.hosts.huggingface.in_decoder import check_inside, inside, refuse_reuse
from scope_adapters.hosts.huggingface.refusals import check_inputs
from scope_adapters.hosts.huggingface.trial import tried
from scope_adapters.hosts.huggingface.unpruned import Beside
from scope_adapters.hosts.methods import Method, check_host, check_wrappers, unwrap
from scope_adapters.towers.memo import remembering
from scope_core import AttachError
from scope_core.adapters import Asked, Declaration, Encoding, Memo, Offer, Schedule, Session, replace_attribute
from scope_core.parts import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)

_OF_THE_TOWER = ("vision.cls_attention", "vision.received_attention", "vision.hidden", "vision.keys", "vision.cls")


class HuggingFaceAdapter(HuggingFaceModel[S]):
    """The part that all Hugging Face models share: calls are wrapped, images encoded once, prompts shortened.

    Subclasses declare the arguments of their model, and how images become candidates; see `HuggingFaceModel`.
    """

    reuses = True

    def check(self, model: Any) -> Declaration:
        """The declaration of a model of whose tower nothing is known: tokens after the projector."""
        model = unwrap(model)
        name = type(model).__name__
        check_host(model, name)
        declaration = with_decoder(
            Declaration(
                model=name,
                points={"projected": "what the language model reads"},
                offers=(Offer("projected"), Offer("text.embeddings")),
                reasons=dict.fromkeys(_OF_THE_TOWER, "its adapter reads no signals of the vision tower"),
                geometry=self.geometry,
                placeholder=int(model.config.image_token_id),
                encoder=f"{base_path(model)}.get_image_features",
            ),
            model,
        )
        return replace(declaration, untried=tried(self, model, declaration))

    def bound(self, model: Any) -> HuggingFaceAdapter[S]:
        """The adapter that serves this model's calls: itself, unless what it declares depends on the model."""
        return self

    def unwrapped(self, model: Any) -> Any:
        """The model inside ``torch.compile`` and PEFT-style wrappers."""
        return unwrap(model)

    def encode_once(
        self, model: Any, inputs: Mapping[str, Any], attachment: Session, memo: Memo | None = None
    ) -> Encoding:
        """The images and videos of a call, by one pass of tower and projector for each kind."""
        refuse_reuse(attachment)
        call = Call(self.bound(unwrap(model)), unwrap(model), attachment)
        given = renamed(inputs, call.adapter.former_names)
        check_inputs(call.adapter, call.model, call.cache, given)
        if not call.items.given(given):
            raise AttachError(f"there is nothing to encode: {' and '.join(call.items.pixels)} is missing")
        with torch.no_grad(), remembering(memo):
            encoded, layout, _ = call.encode(given)
        lasting = {name: given[name] for name in call.adapter.lasting_inputs if given.get(name) is not None}
        return Encoding(encoded.tokens, layout, replace(encoded, lasting=lasting))

    def answer(self, model: Any, asked: Sequence[Asked], attachment: Session, **options: Any) -> list[Tensor]:
        """The new ids of each prompt, from one batch; a shared beginning is computed once if the decoder allows it."""
        refuse_reuse(attachment)
        return answer(Call(self.bound(unwrap(model)), unwrap(model), attachment), asked, options)

    def check_pruner(self, model: Any, pruner: Schedule, given: Collection[str] = ()) -> None:
        """Refuse stages that could not run inside the language model, and an attention bias that it cannot take."""
        check_inside(unwrap(model), pruner, given)
        check_bias(unwrap(model), pruner)

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Wrap ``forward`` and ``generate`` of this instance, whose geometry is tried first if `check` did not."""
        check_wrappers(model)
        inner = unwrap(model)
        bound = self.bound(inner)
        if bound is not self:
            bound.install(model, attachment, undo)
            return
        tried(self, inner, attachment.declaration)
        call = Call(self, inner, attachment, inside(inner, attachment, undo))
        for name, change in {**call.wrapped, **full_prompt.changes(inner)}.items():
            replace_attribute(inner, name, Method(getattr(inner, name), change, attachment), undo)
        if attachment.pruner.spec.attention_bias != "none":
            Biased(inner).install(undo)
        undo.callback(call.continued.leave)
        Beside(inner, attachment, call.items.pixels).install(undo)
        if not takes_encoder_outputs(inner):
            embeddings.install(base_of(inner), undo)
        else:
            for kind, form in (("image", self.pooler), ("video", self.video_pooler)):
                if form == "tensor":
                    change = partial(_as_tensor, kind)
                    undo.callback(base_of(inner).register_forward_pre_hook(change, with_kwargs=True).remove)


def _as_tensor(kind: str, _module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Features as one tensor, as some models need; ``generate`` needs a list, which beam search splits by prompt."""
    given = kwargs.get("mm_encoder_outputs") or {}
    if isinstance(getattr(given.get(kind), "pooler_output", None), list):
        output = copy.copy(given[kind])
        output.pooler_output = torch.cat(output.pooler_output)[None]
        kwargs = {**kwargs, "mm_encoder_outputs": {**given, kind: output}}
    return args, kwargs

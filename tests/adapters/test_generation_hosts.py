"""Options of ``generate`` on hosts with several axes of positions, token types, tiles, packed and newline tokens.

The reference is the host's own ``generate`` on the full prompt, unattached, whose passes answer with the logits of a
pruned copy of the model that reads prompt after prompt alone, with the new tokens. Each option runs on
one of these hosts; `test_generation_options` has all of them in all modes on LLaVA.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fuzz.hosts import HOSTS
from torch import Tensor
from transformers import LlavaForConditionalGeneration
from transformers.generation import logits_process, stopping_criteria
from transformers.modeling_outputs import CausalLMOutputWithPast

import scope_core as scope
from adapters.generation_options import ARGUMENTS, HOST_REFUSES, INSTALLED, examples
from adapters.test_generation_options import MODES, outcome, same, settled

CHOSEN = ["qwen2_5_vl", "gemma3", "paligemma", "internvl", "idefics3", "llava_next", "mistral3"]
CACHE = "cache" if "cache" in inspect.signature(LlavaForConditionalGeneration.forward).parameters else "past_key_values"
EVERYWHERE = ["max_length", "num_return_sequences"]
"""Options that run on every host: lengths and beams."""
SPEC = {"recipe": "random", "budget": {"name": "ratio", "keep_ratio": 0.4}}
NAMES = [(kind, name) for kind in ("fields", "arguments", "processors", "criteria") for name in examples(kind)]
ODD = {
    ("idefics3", "SuppressTokensLogitsProcessor"),  # leaves it nothing but placeholders
    ("paligemma", "use_cache"),  # without a cache new tokens are read in both directions, pruned or not
}
CASES = [
    pytest.param(host, kind, name, list(MODES)[(number + place) % len(MODES)], id=f"{host}-{name}")
    for number, (kind, name) in enumerate(NAMES)
    for place, host in enumerate(CHOSEN)
    if (host, name) not in ODD
    if number % len(CHOSEN) == place or name in EVERYWHERE
]


def longer(inputs: dict[str, Any], new: Tensor) -> dict[str, Any]:
    """The inputs of one prompt with new ids behind it, in every tensor that runs along the prompt."""
    if not new.numel():
        return inputs
    shape, fills = inputs["input_ids"].shape, {"input_ids": new, "attention_mask": torch.ones_like(new)}
    return {
        name: torch.cat([value, fills.get(name, torch.zeros_like(new)).to(value)], 1) if value.shape == shape else value
        for name, value in inputs.items()
    }


class Reference:
    """A pruned copy of a host's model, which answers for its passes over prompts and new tokens."""

    def __init__(self, name: str) -> None:
        host = HOSTS[name]
        self.model = host.model()
        drawn = (host.draw(Random(seed)) for seed in itertools.count())
        # without an image, Qwen-VL goes on from the positions of the call before, pruned or not
        image = self.model.config.image_token_id
        self.given = next(g for g in drawn if len(g.ids) > 1 and g.mask[:, -1].all() and (g.ids == image).any(1).all())
        self.length = self.given.ids.shape[1]
        self.prompts = SimpleNamespace(ids=self.given.ids, inputs=self.given.inputs, length=self.length)
        self.twin = copy.deepcopy(self.model)
        scope.Pruner(SPEC).attach(self.twin)
        self.by_steps = name == "paligemma"  # which reads all of a prompt in both directions, and new tokens in one
        self.known: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def logits(self, prompt: int, new: list[int]) -> Tensor:
        """(V,) logits after a prompt and new tokens."""
        key = (prompt, *new)
        if key not in self.known:
            alone = self.given.row(prompt)
            if self.by_steps:
                out = self.twin(**alone.inputs, use_cache=True)
                for token in new:
                    out = self.twin(input_ids=torch.tensor([[token]]), use_cache=True, **{CACHE: getattr(out, CACHE)})
            else:
                out = self.twin(**longer(alone.inputs, torch.tensor([new])), use_cache=False)
            self.known[key] = out.logits[0, -1]
        return self.known[key]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, the model's passes over the full prompt give the logits of the pruned copy."""
        inner = self.model.forward

        def forward(input_ids: Tensor, **options: Any) -> Any:
            if input_ids.shape[1] < self.length:  # of a processor
                return inner(input_ids, **options)
            each = len(input_ids) // len(self.given.ids)
            rows = [self.logits(row // each, ids[self.length :].tolist()) for row, ids in enumerate(input_ids)]
            output = CausalLMOutputWithPast(logits=torch.stack(rows)[:, None])
            output.image_hidden_states = None
            return output

        forward.__wrapped__ = inner  # type: ignore[attr-defined]  # generate reads the signature
        self.model.forward = forward
        try:
            yield
        finally:
            del self.model.forward


REFERENCES: dict[str, Reference] = {}


@pytest.mark.parametrize(("host", "kind", "name", "mode"), CASES)
def test_options_on_other_hosts(host: str, kind: str, name: str, mode: str) -> None:
    reference = REFERENCES.setdefault(host, Reference(host))
    given, make = reference.prompts, INSTALLED[kind][1][name] if kind in INSTALLED else ARGUMENTS[name]

    def options() -> dict[str, Any]:
        if kind == "processors":
            return {"logits_processor": [make(getattr(logits_process, name), given)]}
        if kind == "criteria":
            return {"stopping_criteria": [make(getattr(stopping_criteria, name), given)], "eos_token_id": None}
        return settled(make, given)

    with reference.reading():
        wanted = outcome(reference.model, given, {**MODES[mode], **options()}, use_cache=False)
    assert name in HOST_REFUSES or not isinstance(wanted, Exception), wanted
    with scope.Pruner(SPEC).attach(reference.model):
        same(outcome(reference.model, given, {**MODES[mode], **options()}), wanted)

"""Each way of pruning, tried on a tiny LLaVA with random weights, made in memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from scope_adapters.compat.transformers import SERVED, installed_version, lacks
from scope_core import MissingDependencyError, Pruner, Registry, ScopeError
from scope_core.commands import Finding

PATCHES, KEPT, PLACEHOLDER = 16, 4, 150
"""A grid of 4 x 4 patches of 7 pixels, of which this many are kept; the image token's id."""


def before_projector(registry: Registry) -> Iterator[Finding]:
    """SCOPE, where most methods prune."""
    yield try_on(*tiny(), {"recipe": "scope", "budget": KEPT}, registry)


def after_projector(registry: Registry) -> Iterator[Finding]:
    """A method that compares what the language model reads."""
    yield try_on(*tiny(), {"recipe": "divprune", "budget": KEPT}, registry)


def with_merging(registry: Registry) -> Iterator[Finding]:
    """Dropped tokens averaged into those that are kept."""
    spec = {"recipe": "scope", "budget": KEPT, "merger": "average"}
    yield try_on(*tiny(), spec, registry)


def inside_llm(registry: Registry) -> Iterator[Finding]:
    """A stage between two decoder layers, by the attention of the prompt."""
    yield try_on(*tiny(), {"recipe": "fastv", "at": "decoder[1]", "budget": KEPT}, registry)


def try_on(model: Any, inputs: dict[str, Any], spec: dict[str, Any], registry: Registry) -> Finding:
    """Prune, generate, detach, and compare: fewer tokens meanwhile, the same logits as before afterwards.

    Raises:
        ScopeError: one of these is not so; or whatever attaching or the model itself raises.
    """
    import torch

    ids = inputs["inputs"] if "inputs" in inputs else inputs["input_ids"]
    with torch.inference_mode():
        before = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        with Pruner(spec, registry=registry).attach(model) as pruning:
            during = model.generate(**inputs, max_new_tokens=3, do_sample=False)
            receipt = pruning.receipt
        after = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    if not receipt or receipt.images[0].tokens != PATCHES or KEPT not in _counts(receipt):
        raise ScopeError(f"of {PATCHES} tokens {KEPT} had to remain; the receipt says {receipt or 'nothing'}")
    if during.shape != before.shape:
        raise ScopeError(
            f"generate returned {tuple(during.shape)} for {tuple(ids.shape)}; unpruned {tuple(before.shape)}"
        )
    if not torch.equal(before, after):
        raise ScopeError("the model answers differently after detaching than before attaching")
    return Finding(f"{PATCHES} tokens, {KEPT} kept, by adapter {receipt.adapter}; off again without a trace")


def _counts(receipt: Any) -> list[int]:
    """Tokens that were kept, here and in later stages."""
    return [stage.images[0].kept for stage in (receipt, *receipt.later) if stage.images]


@functools.cache
def tiny() -> tuple[Any, dict[str, Any]]:
    """The model, and a prompt for it: one image between a few words.

    Raises:
        MissingDependencyError: the installed transformers is older than what is served.
    """
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7
    )
    text = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=PLACEHOLDER + 1, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=PLACEHOLDER, image_token_index=PLACEHOLDER,
        vision_feature_layer=-2, vision_feature_select_strategy="default", image_seq_length=PATCHES,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config).eval()
        pixels = torch.randn(1, 3, 28, 28)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    reason = lacks(model)
    if reason:
        raise MissingDependencyError(f"{type(model).__name__} of transformers {installed_version()} {reason}. {SERVED}")
    ids = torch.tensor([[1, 5, *[PLACEHOLDER] * PATCHES, 6, 7]])
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}

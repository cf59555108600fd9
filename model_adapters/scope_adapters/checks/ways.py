"""Trials of each way of pruning, on a tiny LLaVA with random weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch

from scope_adapters.compat.transformers import SERVED, installed_version, lacks
from scope_core import MissingDependencyError, Pruner, Registry, ScopeError
from scope_core.commands import Finding

PATCHES, KEPT, PLACEHOLDER = 16, 4, 150
"""The number of patches (4 x 4, of 7 pixels each), how many are kept, and the id of image placeholders."""


def before_projector(registry: Registry) -> Iterator[Finding]:
    """The result of SCOPE, which prunes before the projector."""
    yield try_on(*tiny(), {"recipe": "scope", "budget": KEPT}, registry)


def after_projector(registry: Registry) -> Iterator[Finding]:
    """The result of DivPrune, which prunes after the projector."""
    yield try_on(*tiny(), {"recipe": "divprune", "budget": KEPT}, registry)


def with_merging(registry: Registry) -> Iterator[Finding]:
    """The result of SCOPE with dropped tokens merged into kept ones."""
    spec = {"recipe": "scope", "budget": KEPT, "merger": "average"}
    yield try_on(*tiny(), spec, registry)


def inside_llm(registry: Registry) -> Iterator[Finding]:
    """The result of FastV, which prunes between two decoder layers."""
    yield try_on(*tiny(), {"recipe": "fastv", "at": "decoder[1]", "budget": KEPT}, registry)


def try_on(model: Any, inputs: dict[str, Any], spec: dict[str, Any], registry: Registry) -> Finding:
    """The result of generating before, while and after a pruner is attached.

    Raises:
        ScopeError: the number of kept tokens is wrong, or the answer afterwards differs from the one before.
        Exception: any error that attaching or the model raises.
    """
    ids = inputs["inputs"] if "inputs" in inputs else inputs["input_ids"]
    with torch.inference_mode():
        before = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        with Pruner(spec, registry=registry).attach(model) as pruning:
            during = model.generate(**inputs, max_new_tokens=3, do_sample=False)
            receipt = pruning.receipt
        after = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    if not receipt or receipt.images[0].tokens != PATCHES or KEPT not in _counts(receipt):
        raise ScopeError(f"{KEPT} of {PATCHES} tokens should remain; the receipt says {receipt or 'nothing'}")
    if during.shape != before.shape:
        raise ScopeError(
            f"generate returned {tuple(during.shape)} for {tuple(ids.shape)}; without a pruner {tuple(before.shape)}"
        )
    if not torch.equal(before, after):
        raise ScopeError("the model answers differently after detaching than before attaching")
    return Finding(f"{PATCHES} tokens, {KEPT} kept, by adapter {receipt.adapter}; detached without a trace")


def _counts(receipt: Any) -> list[int]:
    """The numbers of kept tokens, by stage."""
    return [stage.images[0].kept for stage in (receipt, *receipt.later) if stage.images]


@functools.cache
def tiny() -> tuple[Any, dict[str, Any]]:
    """The model, and a prompt with one image for it.

    Raises:
        MissingDependencyError: the installed transformers is too old.
    """
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

"""A trial of pruning in the original LLaVA codebase, if it is installed, on a tiny model of its own classes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from scope_adapters.checks.ways import KEPT, try_on
from scope_core import MissingDependencyError, Registry
from scope_core.commands import Finding


def pruned(registry: Registry) -> Iterator[Finding]:
    """The result of SCOPE before the projector.

    Raises:
        MissingDependencyError: the codebase is not installed.
    """
    if importlib.util.find_spec("llava") is None:
        raise MissingDependencyError("not installed: the package llava")
    yield try_on(*tiny(), {"recipe": "scope", "budget": KEPT}, registry)


def tiny() -> tuple[Any, dict[str, Any]]:
    """A Llama and a CLIP tower with random weights in the codebase's classes; no checkpoint is read."""
    import torch
    from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
    from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
    from transformers import CLIPVisionConfig, CLIPVisionModel

    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7
    )
    config = LlavaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=64,
        max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=None,
        mm_hidden_size=32, mm_projector_type="linear", mm_patch_merge_type="flat", tokenizer_padding_side="right",
        tokenizer_model_max_length=128, mm_vision_select_layer=-2, mm_vision_select_feature="patch",
        use_mm_proj=True, tune_mm_mlp_adapter=False, mm_use_im_start_end=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaLlamaForCausalLM(config)
        tower = CLIPVisionTower.__new__(CLIPVisionTower)  # __init__ would download the tower's config
        torch.nn.Module.__init__(tower)
        tower.vision_tower, tower.is_loaded = CLIPVisionModel(vision), True
        tower.select_layer, tower.select_feature, tower.vision_tower_name = -2, "patch", "tiny"
        model.model.vision_tower, model.model.mm_projector = tower, torch.nn.Linear(32, 32)
        images = torch.randn(1, 3, 28, 28)
    model.eval().requires_grad_(False)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    ids = torch.tensor([[1, 5, -200, 6, 7]])
    return model, {"inputs": ids, "attention_mask": torch.ones_like(ids), "images": images}

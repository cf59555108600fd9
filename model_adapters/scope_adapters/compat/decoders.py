"""Features of the installed transformers that stages inside the language model depend on."""

from __future__ import annotations

import sys
from typing import Any

from scope_adapters.compat.signatures import parameters
from scope_adapters.compat.transformers import EnoughError, rotary_options

DEEPSTACK = "_deepstack_process"
"""Method of Qwen3-VL's language model that adds features of the tower to hidden states, between the first layers."""


def takes_deepstack(language: Any) -> bool:
    """True if a language model adds further features of visual tokens between its layers."""
    return "deepstack_visual_embeds" in parameters(type(language).forward)


def several_axes(language: Any) -> bool:
    """True if positions of a language model have several axes (mrope)."""
    rotary = getattr(language, "rotary_emb", None)
    return hasattr(rotary, "mrope_section") or bool(rotary_options(language.config).get("mrope_section"))


def takes_gaps(model: Any) -> bool:
    """True if positions may be larger than the number of tokens.

    Llama and Mistral up to 4.37 look rotations up in a table that is cut to that number.
    """
    modules = model.named_modules()
    rotary = next((module for name, module in modules if name.rpartition(".")[2] == "rotary_emb"), None)
    taken = frozenset() if rotary is None else parameters(type(rotary).forward)
    return "seq_len" not in taken or "position_ids" in taken


def mask_axes(language: Any) -> int:
    """The number of axes of the masks that layers get: 4 for sdpa and eager, 2 for FlashAttention; 0 for other masks.

    Found by a trial pass of a padded prompt, which ends before the first layer.
    """
    import torch

    seen: list[Any] = []

    def look(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs.get("attention_mask"))
        raise EnoughError

    weight = next(language.parameters())
    embeds = torch.zeros(1, 2, language.config.hidden_size, dtype=weight.dtype, device=weight.device)
    mask = torch.tensor([[0, 1]], device=weight.device)
    hook = language.layers[0].register_forward_pre_hook(look, with_kwargs=True)
    try:
        with torch.no_grad():
            type(language).forward(language, inputs_embeds=embeds, attention_mask=mask, use_cache=False)
    except EnoughError:
        pass
    finally:
        hook.remove()
    return seen[0].dim() if seen and isinstance(seen[0], torch.Tensor) and seen[0].dim() in (2, 4) else 0


def rotate(attention: Any, heads: Any, cos: Any, sin: Any) -> Any:
    """Queries or keys (B, H, L, C) under the model's own rotary embedding.

    Qwen2-VL and Qwen2.5-VL up to 5.0 join the axes of positions only there; ``cos`` and ``sin`` are (3, B, L, C) then.
    """
    home = sys.modules[type(attention).__module__]
    if cos.dim() == 3:
        return home.apply_rotary_pos_emb(heads, heads, cos, sin)[0]
    section = rotary_options(attention.config)["mrope_section"]
    return home.apply_multimodal_rotary_pos_emb(heads, heads, cos, sin, section)[0]

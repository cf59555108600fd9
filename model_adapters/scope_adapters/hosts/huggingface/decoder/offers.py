"""Language models that can be pruned inside, the signals that such a stage may read, and refusals of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scope_adapters.compat.caches import layer_lengths, odd_layers
from scope_adapters.compat.decoders import DEEPSTACK, takes_deepstack
from scope_adapters.compat.transformers import installed_version, language_model, rotary_options, unknown_convention
from scope_core import AttachError
from scope_core.adapters import Declaration, Offer

FAMILIES = (
    "decoder.last_query_attention",
    "decoder.text_attention",
    "decoder.received_attention",
    "decoder.text_information",
    "decoder.hidden",
    "decoder.vision_hidden",
    "decoder.normed",
    "decoder.keys",
    "decoder.values",
    "decoder.text_values",
    "decoder.prompt_values",
    "decoder.rotary_cosines",
    "decoder.rotary_sines",
    "decoder.plain_keys",
    "decoder.image_queries",
    "decoder.text_hidden",
    "decoder.text_normed",
    "decoder.text_keys",
    "decoder.plain_queries",
)

SERVED = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen2_vl_text",
    "qwen2_5_vl_text",
    "qwen3_vl_text",
    "qwen3_vl_moe_text",
)
"""``model_type`` of supported language models; each is tested."""

UNMASKED = ("flex_attention", "paged")
"""Beginnings of names of attention functions whose masks are no tensors."""


def decoder_of(model: Any) -> Any:
    """The module that holds the language model's layers."""
    return language_model(model)


def refusal(model: Any) -> str:
    """The reason why the language model cannot be pruned inside; empty if it can."""
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "get_text_config"):
        return "its config names no language model"
    text, decoder = config.get_text_config(), language_model(model)
    kind = getattr(text, "model_type", type(text).__name__)
    if kind not in SERVED:
        return f"its language model is of type '{kind}'; supported are {', '.join(SERVED)}"
    window = getattr(text, "sliding_window", None)
    layer_types = set(getattr(text, "layer_types", None) or ())
    if layer_types - {"full_attention"} or (window and getattr(text, "use_sliding_window", True)):
        return (
            f"its language model attends in a sliding window (sliding_window {window}, layer types "
            f"{', '.join(sorted(layer_types)) or 'not given'}); only full attention is supported"
        )
    rope = rotary_options(text)
    if rope.get("rope_type") in ("dynamic", "longrope"):
        return f"its rotary embedding depends on the prompt's length (rope_type '{rope['rope_type']}')"
    missing = [name for name in ("layers", "norm", "rotary_emb") if not hasattr(decoder, name)]
    if missing:
        return f"{type(decoder).__name__} has no {', '.join(missing)}"
    for module in (decoder, decoder.layers[0]):
        unknown = unknown_convention(module)
        if unknown:
            return f"{type(module).__name__}.forward of the installed transformers {installed_version()} {unknown}"
    used = getattr(text, "_attn_implementation", None)
    if str(used).startswith(UNMASKED):
        return (
            f"its attention runs as '{used}', whose masks are no tensors; use sdpa, eager or a FlashAttention, see "
            f"model.set_attn_implementation()"
        )
    if takes_deepstack(decoder) and not hasattr(decoder, DEEPSTACK):
        return f"{type(decoder).__name__} has no {DEEPSTACK}(), which adds features of the tower between its layers"
    return ""


def with_decoder(declaration: Declaration, model: Any) -> Declaration:
    """``declaration``, with the signals of the language model or the reason why there are none."""
    why = refusal(model)
    if why:
        return replace(declaration, reasons={**declaration.reasons, "decoder": why, "attention_bias": why})
    layers = len(decoder_of(model).layers)
    return replace(
        declaration,
        decoder_layers=layers,
        biases=True,
        offers=(*declaration.offers, *(Offer(family, layers, only=tuple(range(layers))) for family in FAMILIES)),
    )


def check_cache(cache: Any) -> None:
    """Refuse caches whose layers cannot differ in length.

    Raises:
        AttachError: names the cache, and the one to use.
    """
    odd = None if cache is None else odd_layers(cache)
    if odd is not None:
        held = f" with layers of {', '.join(odd)}" if odd else ""
        raise AttachError(
            f"a {type(cache).__name__}{held} cannot be used while tokens are pruned inside the language model: layers "
            f"after a stage hold fewer positions than those before it; use a DynamicCache (the default)"
        )


def check_whole(cache: Any) -> None:
    """Refuse a cache of a pruned prompt from another call, for which the positions of new tokens are unknown.

    Raises:
        AttachError: the layers of the cache differ in length.
    """
    held = layer_lengths(cache)
    if len(set(held)) > 1:
        raise AttachError(
            f"layers of this cache hold {min(held)} to {max(held)} positions: its prompt was pruned inside the "
            f"language model by another pruner, or the cache is a copy; continue with the cache object that the pruned "
            f"call returned, or pass the whole conversation without a cache"
        )


def check_cache_kind(kind: Any) -> None:
    """Refuse a ``cache_implementation`` whose layers cannot differ in length.

    Raises:
        AttachError: names it, and the one to use.
    """
    if kind not in (None, "dynamic", "dynamic_full"):
        raise AttachError(
            f"cache_implementation='{kind}' cannot be used while tokens are pruned inside the language model: layers "
            f"after a stage hold fewer positions than those before it; omit it, or use 'dynamic'"
        )

"""Caches under the names and shapes that the installed transformers gives them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scope_adapters.compat.transformers import cache_name, cache_of

__all__ = ["cache_of", "cached", "keys_of"]


def cached(model: Any, cache: Any) -> dict[str, Any]:
    """The argument by which ``model`` takes its cache."""
    name = cache_name(type(model).forward)
    assert name is not None
    return {name: cache}


def keys_of(cache: Any, layer: int) -> Tensor:
    """(B, H, L, C) keys that a layer's cache holds."""
    return cache.layers[layer].keys if hasattr(cache, "layers") else cache.key_cache[layer]

"""Caches of the installed transformers: what they are called, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scope_adapters.compat.signatures import parameters

CACHE_NAMES = ("cache", "past_key_values", "past_key_value")
"""Arguments and output fields that hold the cache, newest first: models from 5.24 on, models before, layers of 4.x."""


def cache_name(forward: Callable[..., Any]) -> str | None:
    """The argument of a ``forward`` that takes the cache; None where it takes none that is known."""
    taken = parameters(forward)
    return next((name for name in CACHE_NAMES if name in taken), None)


def cache_of(call: Any) -> Any:
    """The cache among a call's arguments or in a model's output, by whichever name; None without one."""
    get = call.get if isinstance(call, Mapping) else lambda name: getattr(call, name, None)
    return next((value for value in map(get, CACHE_NAMES) if value is not None), None)


def cached_length(cache: Any) -> int:
    """Positions that a cache holds; 0 for None."""
    if cache is None:
        return 0
    return int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else len(cache)


def plain_cache(config: Any) -> Any:
    """An empty cache whose layers may have lengths of their own."""
    from transformers import DynamicCache

    return DynamicCache(config=config) if "config" in parameters(DynamicCache) else DynamicCache()


def odd_layers(cache: Any) -> list[str] | None:
    """Why the layers of ``cache`` cannot have lengths of their own: names of classes; None where they can.

    The list is empty where it is the cache itself, not its layers.
    """
    from transformers import DynamicCache

    if type(cache) is not DynamicCache:
        return []
    plain = _plain_layer()
    return sorted({type(layer).__name__ for layer in getattr(cache, "layers", ()) if type(layer) is not plain}) or None


def layer_lengths(cache: Any) -> list[int]:
    """Positions that each plain layer of a cache holds; empty for other caches."""
    if hasattr(cache, "layers"):
        plain = _plain_layer()
        return [int(layer.get_seq_length()) for layer in cache.layers if type(layer) is plain]
    from transformers import DynamicCache

    return [int(cache.get_seq_length(layer)) for layer in range(len(cache))] if type(cache) is DynamicCache else []


def _plain_layer() -> Any:
    """The class of a cache's layer that grows and forgets nothing; None before caches had layers (4.5x)."""
    import transformers.cache_utils

    return getattr(transformers.cache_utils, "DynamicLayer", None)

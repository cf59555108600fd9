"""Caches of the installed transformers: names of arguments, and lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scope_adapters.compat.signatures import parameters

CACHE_NAMES = ("cache", "past_key_values", "past_key_value")
"""Arguments and output fields that hold the cache: of models from 5.24 on, of models before, of layers in 4.x."""


def cache_name(forward: Callable[..., Any]) -> str | None:
    """The argument of a ``forward`` that takes the cache; None if it has no argument of `CACHE_NAMES`."""
    taken = parameters(forward)
    return next((name for name in CACHE_NAMES if name in taken), None)


def cache_of(call: Any) -> Any:
    """The cache among a call's arguments or in a model's output; None if there is no cache."""
    get = call.get if isinstance(call, Mapping) else lambda name: getattr(call, name, None)
    return next((value for value in map(get, CACHE_NAMES) if value is not None), None)


def cached_length(cache: Any) -> int:
    """The number of positions in a cache, which older models return as a tuple of keys and values; 0 for None."""
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    return int(cache[0][0].shape[-2]) if cache else 0


def plain_cache(config: Any) -> Any:
    """An empty cache whose layers may differ in length."""
    from transformers import DynamicCache

    return DynamicCache(config=config) if "config" in parameters(DynamicCache) else DynamicCache()


def odd_layers(cache: Any) -> list[str] | None:
    """Class names of layers that must all have the same length; None if layers of ``cache`` may differ in length.

    The list is empty if the class of the cache, not that of a layer, is the reason.
    """
    from transformers import DynamicCache

    if type(cache) is not DynamicCache:
        return []
    plain = _plain_layer()
    return sorted({type(layer).__name__ for layer in getattr(cache, "layers", ()) if type(layer) is not plain}) or None


def layer_lengths(cache: Any) -> list[int]:
    """The number of positions in each plain layer of a cache; empty for other caches."""
    if hasattr(cache, "layers"):
        plain = _plain_layer()
        return [int(layer.get_seq_length()) for layer in cache.layers if type(layer) is plain]
    from transformers import DynamicCache

    return [int(cache.get_seq_length(layer)) for layer in range(len(cache))] if type(cache) is DynamicCache else []


def _plain_layer() -> Any:
    """The class of cache layers that grow and drop nothing; None where caches have no layers (4.5x)."""
    import transformers.cache_utils

    return getattr(transformers.cache_utils, "DynamicLayer", None)

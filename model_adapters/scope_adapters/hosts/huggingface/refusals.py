"""Refusals of calls that would be pruned wrongly, before anything runs. Each raises `AttachError`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from scope_adapters.compat.caches import CACHE_NAMES, cache_of, cached_length
from scope_adapters.compat.generate import missing_steps
from scope_adapters.compat.transformers import installed_version
from scope_adapters.hosts.huggingface.arguments import PRE_ENCODED
from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.generation import setting
from scope_core import AttachError

UNSERVED: Mapping[str, str] = {
    "assistant_model": "assisted generation would need the assistant's prompt pruned, too",
    "assistant_early_exit": "assisted generation would need the assistant's prompt pruned, too",
    "use_mtp": "drafts of several tokens are not supported on a pruned prompt",
    "speculation_type": "drafts of several tokens are not supported on a pruned prompt",
    "custom_generate": "its code would get the shortened prompt in place of yours",
    "trust_remote_code": "code from the hub would get the shortened prompt in place of yours",
    "token_healing": "it decodes the prompt and encodes it again, without its image placeholders",
}
"""Options of ``generate`` that calls with images refuse, with the reason."""


def check_inputs(adapter: HuggingFaceModel[Any], model: Any, cache: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse videos that the adapter does not serve, and a cache under a name that this model would ignore.

    Args:
        adapter: The model's adapter.
        model: The model, unwrapped.
        cache: Name of the model's argument for the cache.
        kwargs: The call.
    """
    newer = [name for name in CACHE_NAMES[: CACHE_NAMES.index(cache)] if kwargs.get(name) is not None]
    if newer:
        raise AttachError(
            f"{newer[0]} was given, but {type(model).__name__} of the installed transformers calls its cache {cache}: "
            f"pass {cache}=..."
        )
    refused = set(adapter.refused_inputs) - set(adapter.video_inputs)
    given = [name for name in adapter.refused_inputs if name in refused and kwargs.get(name) is not None]
    if given:
        why = f" ({adapter.no_videos})" if adapter.no_videos else ""
        raise AttachError(
            f"{', '.join(given)} was given, but adapter '{adapter.spec.name}' prunes images only: "
            f"{', '.join(adapter.image_inputs)}{why}; omit it, give its frames as images, or detach the pruner first"
        )


def check_text_only(
    ids: Tensor | None, kwargs: Mapping[str, Any], placeholders: Collection[int | None], cache: str
) -> None:
    """Refuse calls without pixels that hold encoded images or continue a prompt with images.

    Args:
        ids: (B, L) ids of the call.
        kwargs: The call.
        placeholders: Ids of image and video placeholders.
        cache: Name of the model's argument for the cache.
    """
    if kwargs.get("mm_encoder_outputs"):
        raise AttachError(PRE_ENCODED)
    has_places = ids is not None and any(bool((ids == id_).any()) for id_ in placeholders if id_ is not None)
    if has_places and cached_length(cache_of(kwargs)):
        raise AttachError(
            f"these ids hold image placeholders and {cache} holds a cached prompt: if that prompt was pruned, their "
            f"lengths differ; pass the whole conversation with its images and without a cache"
        )


def check_options(model: Any, kwargs: Mapping[str, Any], *configs: Any) -> None:
    """Refuse options of ``generate`` that would show the shortened prompt to code that takes it for the full one.

    Args:
        model: The model, unwrapped.
        kwargs: The call.
        configs: Generation configs, in the order in which they are read.
    """
    missing = missing_steps(model)
    if missing:
        raise AttachError(
            f"generate() of the installed transformers {installed_version()} has no {', '.join(missing)}, so limits, "
            f"logits processors and stopping criteria could not count the full prompt; `scope doctor` lists the tested "
            f"versions"
        )
    for name, reason in UNSERVED.items():
        if setting(name, kwargs, *configs):
            raise AttachError(f"{name}: {reason}; omit {name}, or detach the pruner first")
    if setting("cache_implementation", kwargs, *configs) == "paged":
        raise AttachError(
            "cache_implementation='paged' hands over ids without images, so nothing could be pruned or seen; omit it"
        )


def check_gaps(policy: Any, kwargs: Mapping[str, Any], *configs: Any) -> None:
    """Refuse positions with gaps if generate runs without a cache, since it then drops an all-ones mask.

    Args:
        policy: Part that numbers the positions.
        kwargs: The call.
        configs: Generation configs, in the order in which they are read.
    """
    if policy.gapped and setting("use_cache", kwargs, *configs) is False:
        raise AttachError(
            f"position {policy} leaves gaps, and generate with use_cache=False would take each gap for the start "
            f"of another sequence; use the cache, or omit `positions`"
        )

"""The scheduler for ``scope serve --strict``: a request with an image that a part failed on ends with an error.

An error cannot be raised where images are encoded without ending the engine. So the worker leaves a mark for the image,
an empty file in the folder of the counters, and vLLM's scheduler, which reads it, ends the requests with that image.
Other requests go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from scope_adapters.serving import metrics
from scope_core import SpecError

KEY = "visual_pruner_strict"
"""The key of the flag in ``hf_overrides``."""

FIELDS = {"image": "visual_pruner_image", "video": "visual_pruner_video"}
"""Names of a tensor beside the pixels of each image or video: bytes that stand for it and its spec."""

SCHEDULER = f"{__package__}.scheduler.strict_scheduler"
"""The value of vLLM's ``--scheduler-cls``."""

_SUFFIX = ".failed"

log = logging.getLogger(f"vllm.{__package__}")


def is_strict(config: Any) -> bool:
    """True if failures of parts are errors of requests."""
    return bool(getattr(config, KEY, False))


def check(vllm_config: Any) -> None:
    """Refuse an engine that is strict and could not end requests.

    Raises:
        SpecError: names the option that is missing, or that does not go with it.
    """
    config = vllm_config.model_config.hf_config
    if not is_strict(config):
        return
    if vllm_config.scheduler_config.scheduler_cls != SCHEDULER:
        raise SpecError(f"{KEY} needs vLLM's option --scheduler-cls {SCHEDULER} (`scope serve --strict` sets it)")
    if not getattr(config, metrics.KEY, ""):
        raise SpecError(f"{KEY} needs {metrics.KEY}, a folder, in hf_overrides (`scope serve --strict` sets it)")
    if vllm_config.model_config.get_multimodal_config().mm_processor_cache_type == "shm":
        raise SpecError(f"{KEY} cannot see images in vLLM's cache of type shm; omit --mm-processor-cache-type")


def digest(pixels: Any, spec: str) -> bytes:
    """Sixteen bytes that stand for an image and its spec."""
    seen = blake2b(spec.encode(), digest_size=16)
    seen.update(pixels.contiguous().cpu().float().numpy().tobytes())
    return seen.digest()


def mark(folder: str, images: Mapping[bytes, bool]) -> None:
    """Note for each image whether a part failed on it when it was encoded last. Never raises; logs an error instead."""
    for image, has_failed in images.items():
        path = Path(folder) / f"{image.hex()}{_SUFFIX}"
        try:
            if has_failed:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s: an image that a part failed on could not be noted in %s: %s", KEY, folder, error)


def failed(folder: str, images: Iterable[bytes]) -> bool:
    """True if a part failed on any of these images."""
    return any((Path(folder) / f"{image.hex()}{_SUFFIX}").exists() for image in images)

"""vLLM's scheduler that ends requests with images that a part failed on. Imported by vLLM alone."""

from __future__ import annotations

from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from scope_adapters.serving import metrics
from scope_adapters.serving.strict import FIELDS, KEY, failed
from scope_core import AdapterError, SpecError

ERRORS = "encoder_cache_mismatch_reqs"
"""The scheduler's set of requests that end with an error at the next step."""


class _Strict:
    """Mixin for vLLM's schedulers."""

    requests: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if not isinstance(getattr(self, ERRORS, None), set):
            raise AdapterError(f"vLLM's scheduler has no set '{ERRORS}', which {KEY} needs; see docs/serving.md")

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """One step of vLLM, with an error for requests whose images failed."""
        for name in scheduler_output.num_scheduled_tokens:
            request = self.requests.get(name)
            if request is not None and not request.num_output_tokens and self._failed(request):
                getattr(self, ERRORS).add(name)
        return super().update_from_output(scheduler_output, model_runner_output)  # type: ignore[misc]

    def _failed(self, request: Any) -> bool:
        found = [feature for feature in request.mm_features if feature.modality in FIELDS]
        if not found:
            return False
        if any(feature.data is None for feature in found):
            raise SpecError(f"{KEY} cannot see images in vLLM's cache of type shm; omit --mm-processor-cache-type")
        data = [feature.data for feature in found]
        images = [bytes(one[name].data.tolist()) for one in data for name in FIELDS.values() if name in one]
        config = self.vllm_config.model_config.hf_config  # type: ignore[attr-defined]
        return failed(str(getattr(config, metrics.KEY, "")), images)


class _StrictAsyncScheduler(_Strict, AsyncScheduler):  # type: ignore[misc]
    """vLLM's scheduler for engines that schedule while the last step runs."""


class _StrictScheduler(_Strict, Scheduler):  # type: ignore[misc]
    """vLLM's scheduler for other engines."""


def strict_scheduler(**named: Any) -> Any:
    """The scheduler for an engine; vLLM calls what ``--scheduler-cls`` names with named arguments."""
    config = named["vllm_config"].scheduler_config
    return (_StrictAsyncScheduler if config.async_scheduling else _StrictScheduler)(**named)

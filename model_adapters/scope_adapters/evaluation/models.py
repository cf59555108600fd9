"""lmms-eval's own models with a pruner attached and every answer checked, e.g. `scope_llava_hf`."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from scope_adapters.evaluation.errors import EvaluationStopped, stopping
from scope_adapters.evaluation.watched import Watched
from scope_core import MissingDependencyError, Pruner, ScopeError, SpecError
from scope_core.adapters import quoted

BASES = {
    "ScopeLlavaHf": ("simple.llava_hf", "LlavaHf"),
    "ScopeLlavaHfChat": ("chat.llava_hf", "LlavaHf"),
    "ScopeQwen2VL": ("simple.qwen2_vl", "Qwen2_VL"),
    "ScopeQwen25VL": ("simple.qwen2_5_vl", "Qwen2_5_VL"),
    "ScopeQwen25VLChat": ("chat.qwen2_5_vl", "Qwen2_5_VL"),
    "ScopeQwen3VL": ("simple.qwen3_vl", "Qwen3_VL"),
    "ScopeQwen3VLChat": ("chat.qwen3_vl", "Qwen3_VL"),
}
"""The module and the class of lmms-eval that is extended, by the name of the new class."""
MODELS = {
    "scope_llava_hf": ("ScopeLlavaHf", "ScopeLlavaHfChat"),
    "scope_qwen2_vl": ("ScopeQwen2VL", None),
    "scope_qwen2_5_vl": ("ScopeQwen25VL", "ScopeQwen25VLChat"),
    "scope_qwen3_vl": ("ScopeQwen3VL", "ScopeQwen3VLChat"),
}
"""The simple and the chat class of each model, by its name for ``--model``."""


def __getattr__(name: str) -> Any:
    """The classes, created on first use: importing lmms-eval takes seconds."""
    if name not in BASES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return extended(name)


@functools.cache
def extended(name: str) -> type:
    """One of the classes of `BASES`.

    Raises:
        EvaluationStopped: lmms-eval, or a package that its model needs, is not installed.
    """
    import importlib

    home, base_name = BASES[name]
    with stopping("importing"):
        try:
            base = getattr(importlib.import_module(f"lmms_eval.models.{home}"), base_name)
        except ImportError as error:
            raise MissingDependencyError(
                f"lmms-eval's {home} cannot be imported: {error}; pip install 'scope-core[lmms]'"
            ) from error
        members = {
            "__module__": __name__,
            "__doc__": ScopeModel.__doc__,
            "name": next(model for model, classes in MODELS.items() if name in classes),
            "batches": base_name != "LlavaHf",
        }
        return type(name, (ScopeModel, base), members)


class ScopeModel:
    """A pruner for a model of lmms-eval.

    Args:
        pruner: ``"scope@64"``, the path of a spec file, or a spec as JSON in braces; "none" for no pruner: answers
            are those of lmms-eval's own model, but an error ends the run.
        receipts: JSON file for the totals of what was pruned; None writes nothing.
        batch_size: Prompts at a time; 1 for lmms-eval's ``llava_hf``, which asks one by one.
        options: Options of lmms-eval's model: ``pretrained``, ``device_map``, ...

    Attributes:
        name: Its name for ``--model``.
        batches: True if it asks several prompts at a time.

    Raises:
        EvaluationStopped: an option, the spec or the checkpoint is wrong, or the spec does not fit the model.
    """

    name: ClassVar[str]
    batches: ClassVar[bool]

    def __init__(
        self, pruner: Any = None, receipts: str | None = None, batch_size: int | str = 1, **options: Any
    ) -> None:
        self._watched: Watched | None = None
        self._receipts = receipts
        with stopping("starting"):
            if str(batch_size) != "1" and not self.batches:
                raise ScopeError(
                    f"--batch_size {batch_size}: lmms-eval's {self.name.removeprefix('scope_')} asks one prompt at a "
                    f"time; use --batch_size 1"
                )
            if not str(batch_size).isdigit() or int(batch_size) < 1:
                raise ScopeError(f"--batch_size {batch_size}: give a whole number of prompts, e.g. --batch_size 8")
            known = inspect.signature(super().__init__).parameters
            if unknown := sorted(set(options) - set(known)):
                names = ", ".join(sorted({"pruner", "receipts", *known} - {"kwargs"}))
                raise ScopeError(f"there is no model argument '{unknown[0]}'; choose from {names}")
            spec = spec_of(pruner)
            parsed = None if spec is None else Pruner(spec)  # before the weights, so that a wrong spec fails early
            options.setdefault("device_map", place(options.get("device", "cuda")))
            super().__init__(batch_size=int(batch_size), **options)  # type: ignore[call-arg]
            self._watched = Watched(super().model, parsed)  # type: ignore[misc]

    @property
    def model(self) -> Any:
        """The model; its calls are checked once it is loaded."""
        return self._watched or super().model  # type: ignore[misc]

    def generate_until(self, requests: list[Any]) -> list[Any]:
        """Answers, each from a call that was pruned as planned.

        Raises:
            EvaluationStopped: a call failed or was not pruned.
        """
        with stopping("answering"):
            answers: list[Any] = super().generate_until(requests)  # type: ignore[misc]
            self._report()
        return answers

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        """Refused: lmms-eval also reads the loss of image tokens, and a pruned prompt has fewer of them."""
        raise self._refused("loglikelihood", requests)

    def generate_until_multi_round(self, requests: list[Any]) -> list[Any]:
        """Refused: an answer of one round would not be checked apart from those before it."""
        raise self._refused("generate_until_multi_round", requests)

    def generate_visual_cot(self, requests: list[Any]) -> list[Any]:
        """Refused: its images are made while it runs."""
        raise self._refused("generate_visual_cot", requests)

    def _refused(self, kind: str, requests: list[Any]) -> EvaluationStopped:
        names = ", ".join(sorted({str(getattr(request, "task_name", "?")) for request in requests}))
        return EvaluationStopped(
            f"{self.name}: {names} uses {kind}, which is not supported; choose tasks of output_type generate_until"
        )

    def _report(self) -> None:
        watched = self._watched
        if watched is None:
            return
        from loguru import logger

        facts = totals(watched)
        logger.info(f"{self.name}: {facts}")
        if self._receipts is not None:
            rank, processes = int(getattr(self, "_rank", 0)), int(getattr(self, "_world_size", 1))
            path = Path(self._receipts)
            if processes > 1:
                path = path.with_name(f"{path.stem}.{rank}{path.suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def place(device: Any) -> str:
    """The default ``device_map``: lmms-eval 0.7.3 passes an empty one to transformers, which 5.x refuses.

    Args:
        device: lmms-eval's option.

    Returns:
        The device; for several processes on GPUs an empty text, in place of which lmms-eval puts each process's device.
    """
    from accelerate import PartialState

    several = PartialState().num_processes > 1
    return "" if several and not str(device).startswith("cpu") else str(device)


def spec_of(given: Any) -> Any:
    """A spec for `Pruner`; None for no pruner.

    Args:
        given: Option of lmms-eval's command line, which leaves JSON in braces a text.

    Raises:
        SpecError: the text in braces is not JSON.
    """
    if given is None or (isinstance(given, str) and given.strip().lower() in ("none", "")):
        return None
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            return json.loads(given)
        except (ValueError, RecursionError) as error:
            raise SpecError(
                f'pruner={quoted(given)}: not JSON ({error}); e.g. pruner={{"recipe":"scope","budget":64}}'
            ) from error
    if isinstance(given, str | Mapping):
        return given
    raise SpecError(f"pruner={quoted(given)}: give a spec such as scope@64, the path of a spec file, or JSON in braces")


def totals(watched: Watched) -> dict[str, Any]:
    """Totals of what was pruned so far, as plain data."""
    pruning = watched.attachment
    return {
        "spec": None if pruning is None else pruning.pruner.label,
        "long": None if pruning is None else pruning.pruner.spec.model_dump(mode="json"),
        "adapter": None if pruning is None else str(pruning.adapter.spec.name),
        "calls": watched.calls,
        "images": watched.images,
        "tokens": watched.tokens,
        "kept": watched.kept,
        "select_ms": watched.select_ms,
    }

"""`scope_llava_hf`: lmms-eval's `llava_hf`, simple and chat, with a pruner attached and every answer checked."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scope_adapters.evaluation.errors import EvaluationStopped, stopping
from scope_adapters.evaluation.watched import Watched
from scope_core import MissingDependencyError, Pruner, ScopeError, SpecError
from scope_core.adapters import quoted

BASES = {
    "ScopeLlavaHf": "lmms_eval.models.simple.llava_hf",
    "ScopeLlavaHfChat": "lmms_eval.models.chat.llava_hf",
}
"""The modules of lmms-eval whose ``LlavaHf`` is extended, by the name of the new class."""


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

    with stopping("importing"):
        try:
            base = importlib.import_module(BASES[name]).LlavaHf
        except ImportError as error:
            raise MissingDependencyError(
                f"lmms-eval's llava_hf cannot be imported: {error}; pip install 'scope-core[lmms]'"
            ) from error
        return type(name, (ScopeLlava, base), {"__module__": __name__, "__doc__": ScopeLlava.__doc__})


class ScopeLlava:
    """A pruner for lmms-eval's ``LlavaHf``.

    Args:
        pruner: ``"scope@64"``, the path of a spec file, or a spec as JSON in braces; "none" for no pruner: answers
            are those of `llava_hf`, but an error ends the run.
        receipts: JSON file for the totals of what was pruned; None writes nothing.
        batch_size: 1, since lmms-eval's ``llava_hf`` asks one prompt at a time.
        options: Options of lmms-eval's ``llava_hf``: ``pretrained``, ``dtype``, ``device_map``, ...

    Raises:
        EvaluationStopped: an option, the spec or the checkpoint is wrong, or the spec does not fit the model.
    """

    def __init__(
        self, pruner: Any = None, receipts: str | None = None, batch_size: int | str = 1, **options: Any
    ) -> None:
        self._watched: Watched | None = None
        self._receipts = receipts
        with stopping("starting"):
            if str(batch_size) != "1":
                raise ScopeError(
                    f"--batch_size {batch_size}: lmms-eval's llava_hf asks one prompt at a time; use --batch_size 1"
                )
            known = inspect.signature(super().__init__).parameters
            if unknown := sorted(set(options) - set(known)):
                names = ", ".join(sorted({"pruner", "receipts", *known} - {"kwargs"}))
                raise ScopeError(f"there is no model argument '{unknown[0]}'; choose from {names}")
            spec = spec_of(pruner)
            parsed = None if spec is None else Pruner(spec)  # before the weights, so that a wrong spec fails early
            options.setdefault("device_map", place(options.get("device", "cuda")))
            super().__init__(batch_size=1, **options)  # type: ignore[call-arg]
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
        """Refused, as by lmms-eval's ``llava_hf``."""
        raise self._refused("generate_until_multi_round", requests)

    def generate_visual_cot(self, requests: list[Any]) -> list[Any]:
        """Refused, as by lmms-eval's ``llava_hf``."""
        raise self._refused("generate_visual_cot", requests)

    def _refused(self, kind: str, requests: list[Any]) -> EvaluationStopped:
        names = ", ".join(sorted({str(getattr(request, "task_name", "?")) for request in requests}))
        return EvaluationStopped(
            f"scope_llava_hf: {names} uses {kind}, which is not supported; choose tasks of output_type generate_until"
        )

    def _report(self) -> None:
        watched = self._watched
        if watched is None:
            return
        from loguru import logger

        facts = totals(watched)
        logger.info(f"scope_llava_hf: {facts}")
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

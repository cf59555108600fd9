"""`scope_llava_hf`: lmms-eval's `llava_hf`, simple and chat, with a pruner attached and every answer checked."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scope_adapters.evaluation.ending import EvaluationStopped, stopping
from scope_adapters.evaluation.watching import Watched
from scope_core import MissingDependencyError, Pruner, ScopeError, SpecError

BASES = {
    "ScopeLlavaHf": "lmms_eval.models.simple.llava_hf",
    "ScopeLlavaHfChat": "lmms_eval.models.chat.llava_hf",
}
"""Our class, and the module of lmms-eval whose ``LlavaHf`` it extends."""


def __getattr__(name: str) -> Any:
    """The classes, made when lmms-eval asks for them: importing lmms-eval takes seconds."""
    if name not in BASES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return made(name)


@functools.cache
def made(name: str) -> type:
    """One of the classes of `BASES`.

    Raises:
        EvaluationStopped: lmms-eval, or what its model needs, is not installed.
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
    """What is added to lmms-eval's ``LlavaHf``.

    Args:
        pruner: ``"scope@64"``, the path of a spec file, or a spec as JSON in braces; "none" for no pruner, which
            answers as `llava_hf` does but ends the run on an error.
        receipts: JSON file to write what was pruned in all to; None writes nothing.
        batch_size: 1, as lmms-eval's ``llava_hf`` asks one prompt at a time.
        options: Of lmms-eval's ``llava_hf``: ``pretrained``, ``dtype``, ``device_map``, ...

    Raises:
        EvaluationStopped: an option, the spec or the checkpoint is wrong; the spec does not fit the model.
    """

    def __init__(
        self, pruner: Any = None, receipts: str | None = None, batch_size: int | str = 1, **options: Any
    ) -> None:
        self._watched: Watched | None = None
        self._receipts = receipts
        with stopping("starting"):
            if str(batch_size) != "1":
                raise ScopeError(
                    f"--batch_size {batch_size}: lmms-eval's llava_hf asks one prompt at a time; leave it 1"
                )
            known = inspect.signature(super().__init__).parameters
            if unknown := sorted(set(options) - set(known)):
                names = ", ".join(sorted({"pruner", "receipts", *known} - {"kwargs"}))
                raise ScopeError(f"there is no model argument '{unknown[0]}'; there are {names}")
            chosen = spec_of(pruner)
            made = None if chosen is None else Pruner(chosen)  # before the weights: a wrong spec is told at once
            options.setdefault("device_map", place(options.get("device", "cuda")))
            super().__init__(batch_size=1, **options)  # type: ignore[call-arg]
            self._watched = Watched(super().model, made)  # type: ignore[misc]

    @property
    def model(self) -> Any:
        """The model, watched once it is there."""
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
        """Refused: lmms-eval reads the loss of the prompt's image tokens too, and a pruned prompt is shorter."""
        raise self._refused("loglikelihood", requests)

    def generate_until_multi_round(self, requests: list[Any]) -> list[Any]:
        """Refused, as lmms-eval's ``llava_hf`` has none."""
        raise self._refused("generate_until_multi_round", requests)

    def generate_visual_cot(self, requests: list[Any]) -> list[Any]:
        """Refused, as lmms-eval's ``llava_hf`` has none."""
        raise self._refused("generate_visual_cot", requests)

    def _refused(self, kind: str, requests: list[Any]) -> EvaluationStopped:
        names = ", ".join(sorted({str(getattr(request, "task_name", "?")) for request in requests}))
        return EvaluationStopped(
            f"scope_llava_hf: {names} asks by {kind}, which is not served; tasks of output_type generate_until are"
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
    """``device_map`` where none was given: lmms-eval 0.7.3 hands transformers an empty one, which 5.x refuses.

    Args:
        device: As lmms-eval was told it.

    Returns:
        The device; for several processes on GPUs an empty text, for which lmms-eval puts each one's own.
    """
    from accelerate import PartialState

    several = PartialState().num_processes > 1
    return "" if several and not str(device).startswith("cpu") else str(device)


def spec_of(given: Any) -> Any:
    """A spec as `Pruner` takes it; None for no pruner.

    Args:
        given: As lmms-eval's command line read it: JSON in braces is still a text there.

    Raises:
        SpecError: what stands in braces is no JSON.
    """
    if given is None or (isinstance(given, str) and given.strip().lower() in ("none", "")):
        return None
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            return json.loads(given)
        except ValueError as error:
            raise SpecError(
                f'pruner={given}: not JSON ({error}); e.g. pruner={{"recipe":"scope","budget":64}}'
            ) from error
    if isinstance(given, str | Mapping):
        return given
    raise SpecError(f"pruner={given!r}: give a spec such as scope@64, the path of a spec file, or JSON in braces")


def totals(watched: Watched) -> dict[str, Any]:
    """What was pruned so far, as plain data."""
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

"""Times of a model's tower, projector and ``generate`` within a call, measured from outside."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from scope_bench.speed.timing import finish
from scope_core import AdapterError, Pruner, Registry, TaskError
from scope_core.adapters import Declaration, LoadedModel, find_adapter, replace_attribute, resolve

PARTS = ("tower", "projector")


@dataclass
class Watched:
    """A model whose parts are timed while it is called.

    Attributes:
        loaded: The model.
        declaration: The declaration of its adapter.
        inputs: Arguments of ``generate`` for one call.
        device: Device of the model.
        spent: Milliseconds of the latest call by part: ``tower``, ``projector``, ``features`` (both, and the packing of
            their results) and ``generate``; for pruned calls also ``select`` (selection before the language model),
            ``inside`` (selection inside it) and ``hooks`` (all that hooks on its layers take, selection included).
        now: The clock, in seconds.
    """

    loaded: LoadedModel
    declaration: Declaration
    inputs: dict[str, Any]
    device: torch.device
    spent: dict[str, float] = field(default_factory=dict)
    now: Callable[[], float] = time.perf_counter

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        registry: Registry,
        images: list[Image.Image],
        question: str,
        *,
        batch: int = 1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Watched:
        """A model with the arguments of one call: ``batch`` prompts, each about all images.

        Raises:
            AdapterError: no adapter serves the model, or its adapter does not declare its tower and projector.
            TaskError: the prompts of the model have no input_ids.
        """
        pruner = Pruner({"budget": 1}, registry=registry)
        declaration = find_adapter(loaded.model, pruner).check(loaded.model)
        lacking = [part for part in PARTS if part not in declaration.modules]
        if lacking:
            raise AdapterError(
                f"the adapter of {declaration.model} does not declare the {' and '.join(lacking)} "
                f"(`Declaration.modules`), so their share of a call cannot be measured; choose another model"
            )
        if device is not None or dtype is not None:
            loaded.model.to(device=device, dtype=dtype)
        first = next(loaded.model.parameters())
        inputs = {name: _placed(value, first, batch) for name, value in loaded.inputs(images, question).items()}
        if "input_ids" not in inputs:
            raise TaskError(f"{loaded.name} gives no input_ids for its prompts, so they cannot be shortened")
        return cls(loaded, declaration, inputs, first.device)

    @property
    def model(self) -> Any:
        """The model itself."""
        return self.loaded.model

    def module(self, part: str) -> Any:
        """The module of one of `PARTS`."""
        return resolve(self.model, self.declaration.modules[part], what=self.declaration.model)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A context in which parts are timed. Attach pruners inside it, not outside."""
        with ExitStack() as undo:
            for part in PARTS:
                stack: list[float] = []
                module = self.module(part)
                undo.callback(module.register_forward_pre_hook(self._start(stack)).remove)
                undo.callback(module.register_forward_hook(self._stop(part, stack), always_call=True).remove)
            if self.declaration.encoder:
                owner, _, name = self.declaration.encoder.rpartition(".")
                home = resolve(self.model, owner, what=self.declaration.model) if owner else self.model
                replace_attribute(home, name, self._timed("features", getattr(home, name)), undo)
            replace_attribute(self.model, "generate", self._timed("generate", self.model.generate), undo)
            yield

    @contextmanager
    def selecting(self, pruner: Pruner) -> Iterator[None]:
        """A context in which selection is timed, and hooks on layers of the language model. Attach before it."""
        with ExitStack() as undo:
            for stage in pruner.stages:
                part = "select" if stage.decoder_layer is None else "inside"
                replace_attribute(stage, "prune", self._timed(part, stage.prune), undo)
            for module in self._hooked() if pruner.decoder_layer is not None or len(pruner.stages) > 1 else ():
                stack: list[float] = []
                undo.callback(module.register_forward_pre_hook(self._start(stack), prepend=True).remove)
                undo.callback(module.register_forward_pre_hook(self._stop("hooks", stack)).remove)
            yield

    def _hooked(self) -> list[torch.nn.Module]:
        """The modules with hooks that run before them, other than those of the tower and the projector."""
        others = {inner for part in PARTS for inner in self.module(part).modules()}
        return [module for module in self.model.modules() if module._forward_pre_hooks and module not in others]

    def call(self, tokens: int, **inputs: Any) -> Any:
        """Call ``generate`` greedily for exactly ``tokens`` new tokens, and record times in `spent`."""
        self.spent.clear()
        options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
        with torch.no_grad():
            output = self.model.generate(**(inputs or self.inputs), **options)
        self.spent.setdefault("features", sum(self.spent.get(part, 0.0) for part in PARTS))
        return output

    def texts(self, length: int) -> dict[str, Any]:
        """Arguments for the same batch of prompts with ``length`` ids, but without an image."""
        word = self.inputs["input_ids"][:, -1:]  # the end of the question: a word, not a placeholder
        ids = word.expand(-1, length).contiguous()
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def _start(self, stack: list[float]) -> Callable[..., None]:
        def start(*_: Any) -> None:
            finish(self.device)
            stack.append(self.now())

        return start

    def _stop(self, part: str, stack: list[float]) -> Callable[..., None]:
        def stop(*_: Any) -> None:
            finish(self.device)
            self.spent[part] = self.spent.get(part, 0.0) + (self.now() - stack.pop()) * 1e3

        return stop

    def _timed(self, part: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)  # hosts read signatures
        def timed(*args: Any, **kwargs: Any) -> Any:
            finish(self.device)
            start = self.now()
            try:
                return inner(*args, **kwargs)
            finally:
                finish(self.device)
                self.spent[part] = self.spent.get(part, 0.0) + (self.now() - start) * 1e3

        return timed


def _placed(value: Any, like: torch.Tensor, batch: int) -> Any:
    """An argument on the model's device and in its dtype, repeated for each prompt."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.to(like.device, like.dtype if value.is_floating_point() else None)
    return value.repeat(batch, *[1] * (value.dim() - 1)) if batch > 1 else value

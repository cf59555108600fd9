"""`check_adapter`: every promise of an adapter, tried on one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scope_core.errors import AdapterError, ScopeError, UnknownNameError, did_you_mean, listed
from scope_core.registry.discovery import default_registry
from scope_core.registry.entries import Entry
from scope_core.registry.registry import Registry
from scope_core.testing.adapters.cleanup import clean
from scope_core.testing.adapters.declarations import plans, signals
from scope_core.testing.adapters.decoder_inputs import by_hand, receipts, rows
from scope_core.testing.adapters.harness import Bench, Broken, MakeInputs, Skipped, some
from scope_core.testing.adapters.outputs import batch, empty, fewer, fits, identity, memory
from scope_core.testing.adapters.snapshots import diff, snapshot
from scope_core.testing.adapters.stubs import with_parts

_CHECKS: Mapping[str, tuple[Callable[[Bench], None], str]] = {
    "fits": (fits, "it attaches, and the model's outputs depend on its images"),
    "clean": (clean, "detaching leaves the module tree as it was found, also after errors"),
    "identity": (identity, "keeping every token changes no logit and no generated id: greedy, beams, no cache"),
    "fewer": (fewer, "keeping fewer tokens changes outputs, but not the prompt that generate() hands back"),
    "rows": (rows, "the decoder reads exactly the kept tokens, in the unpruned order and where positions say"),
    "by_hand": (by_hand, "logits are those of hand-built embeddings"),
    "receipts": (receipts, "receipts give each image what the decoder really reads of it"),
    "batch": (batch, "a ragged left-padded batch, with several images and without, equals prompts alone"),
    "empty": (empty, "so it does where nothing of one image is kept"),
    "signals": (signals, "offered signals are there, finite and each image's own; others are refused"),
    "plans": (plans, "plans from image sizes are what happens"),
    "memory": (memory, "no call changes a later one"),
}

PROPERTIES: Mapping[str, str] = {name: about for name, (_, about) in _CHECKS.items()}
"""What `check_adapter` tries, in words."""


class ConformanceError(ScopeError, AssertionError):
    """A part or an adapter broke a promise.

    Attributes:
        failures: ``{property: how it broke}``.
    """

    def __init__(self, what: str, failures: Mapping[str, str], about: Mapping[str, str] = PROPERTIES) -> None:
        self.failures = dict(failures)
        lines = "".join(f"\n  {name} ({about[name]}): {how}" for name, how in self.failures.items())
        super().__init__(f"{what} breaks {len(self.failures)} of {len(about)} properties:{lines}")


@dataclass(frozen=True)
class Conformance:
    """What was tried.

    Attributes:
        adapter: Name of the adapter.
        model: What the model is called in its declaration.
        passed: Properties that hold.
        skipped: ``{property: why it cannot be tried on this model}``.
        seconds: Wall time of each property.
    """

    adapter: str
    model: str
    passed: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"adapter '{self.adapter}' on {self.model}: {len(self.passed)} of {len(PROPERTIES)} properties hold"]
        lines += [f"  not tried: {name}: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines)


def check_adapter(
    adapter: str | Entry | Mapping[str, Any],
    model: Any,
    make_inputs: MakeInputs,
    *,
    registry: Registry | None = None,
    sizes: Sequence[Sequence[tuple[int, int]] | None] | None = None,
    decoder: nn.Module | None = None,
    tolerance: float = 1e-3,
    only: Collection[str] = (),
) -> Conformance:
    """Try every property of `PROPERTIES`.

    Args:
        adapter: Name of an installed adapter, a table with its options, or an entry that is not installed.
        model: A small model in eval mode, in float32 best. Random weights do, if its outputs depend on its images.
        make_inputs: Arguments of ``model(...)`` for some of three prompts; see `MakeInputs`. ``generate`` gets
            ``input_ids`` as its first argument, and the others by name.
        registry: Where the adapter is looked up; the process' default registry if left out.
        sizes: (height, width) of the images of each prompt, e.g. ``[[(40, 50)], [], [(25, 56), (56, 28)]]``; None
            for prompts whose layout their images' sizes do not say. Plans are checked for these.
        decoder: The module that reads embeddings; ``model.get_decoder()`` if left out.
        tolerance: How far logits of equal computations in another order may lie apart, as a share of the largest.
        only: Properties to try, to look for one fault; all if left out. "fits" is always among them.

    Returns:
        What was tried, and what could not be.

    Raises:
        ConformanceError: a property does not hold; says which and how, for all of them.
        UnknownNameError: there is no such property.
        AdapterError: ``adapter`` or ``make_inputs`` is not what it should be, or gives other inputs each time.
    """
    for name in only:
        if name not in PROPERTIES:
            raise UnknownNameError(
                f"there is no property '{name}'{did_you_mean(name, PROPERTIES)}. Properties: {listed(PROPERTIES)}"
            )
    _check_arguments(adapter, make_inputs)
    parts = with_parts(registry or default_registry(), adapter if isinstance(adapter, Entry) else None)
    if isinstance(adapter, Entry):
        options: dict[str, Any] = {"name": adapter.name}
    else:
        options = {"name": adapter} if isinstance(adapter, str) else dict(adapter)
    bench = Bench(options, model, make_inputs, parts, sizes, decoder, tolerance)
    failures: dict[str, str] = {}
    skipped: dict[str, str] = {}
    seconds: dict[str, float] = {}
    tried = [name for name in PROPERTIES if not only or name in only or name == "fits"]
    for name in tried:
        start = time.perf_counter()
        try:
            before, own = bench.settled
            if name != "fits":
                before = snapshot(model, values=True)
            _CHECKS[name][0](bench)
            left = diff(before, snapshot(model, values=True), ignore=own)
            if left and "clean" not in failures:
                failures["clean"] = f"after trying '{name}' the model is not as it was found: {some(left)}"
        except Skipped as reason:
            skipped[name] = str(reason)
        except Broken as reason:
            failures[name] = str(reason)
        except Exception as error:  # whatever an adapter, or the model because of it, may raise
            failures[name] = f"raised {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        seconds[name] = time.perf_counter() - start
        if "fits" in failures:
            break  # nothing can be attached, or nothing depends on images: the rest would say no more
    if failures:
        raise ConformanceError(f"adapter '{options['name']}' on {type(model).__name__}", failures)
    passed = tuple(name for name in tried if name not in skipped)
    return Conformance(str(options["name"]), bench.declaration.model, passed, skipped, seconds)


def _check_arguments(adapter: object, make_inputs: object) -> None:
    """Refuse what would otherwise look like a fault of the adapter's."""
    if isinstance(adapter, type):
        raise AdapterError(
            f"adapter is the class {adapter.__name__}; wrap it: Entry({adapter.__name__}Spec, ..., 'about')"
        )
    named = isinstance(adapter, Mapping) and isinstance(adapter.get("name"), str)
    if not (isinstance(adapter, str | Entry) or named):
        raise AdapterError(f"adapter is {adapter!r}; give its name, a table with its name and options, or an Entry")
    if not callable(make_inputs):
        raise AdapterError(
            f"make_inputs is {type(make_inputs).__name__}; give a function: rows -> keyword arguments of a model's call"
        )
    for prompts in ([0], [2]):
        first, again = make_inputs(prompts), make_inputs(prompts)
        if not isinstance(first, Mapping):
            raise AdapterError(
                f"make_inputs({prompts}) returned {type(first).__name__}; expected keyword arguments of a model's "
                f"call, e.g. {{'input_ids': ..., 'pixel_values': ...}}"
            )
        for name, value in first.items():
            other = again.get(name)
            if isinstance(value, Tensor) and not (
                isinstance(other, Tensor) and value.shape == other.shape and bool(torch.equal(value, other))
            ):
                raise AdapterError(
                    f"make_inputs({prompts}) gave another '{name}' when it was called again, so nothing could be "
                    f"compared; the same row must always be the same prompt and picture: draw them once, or seed a "
                    f"torch.Generator"
                )

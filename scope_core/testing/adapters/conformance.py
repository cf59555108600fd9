"""`check_adapter`: every property that an adapter must have, tried on one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scope_core.errors import AdapterError, UnknownNameError, did_you_mean, listed
from scope_core.registry.discovery import default_registry
from scope_core.registry.entries import Entry
from scope_core.registry.registry import Registry
from scope_core.testing.adapters.cleanup import detaching_restores_the_model
from scope_core.testing.adapters.declarations import offered_signals_are_delivered, plans_come_true
from scope_core.testing.adapters.decoder_inputs import (
    decoder_reads_exactly_the_kept_tokens,
    logits_match_hand_built_embeddings,
    receipts_match_what_the_decoder_reads,
)
from scope_core.testing.adapters.harness import Harness, MakeInputs, Skipped, some
from scope_core.testing.adapters.outputs import (
    adapter_fits_the_model,
    batches_match_single_prompts,
    calls_do_not_affect_later_ones,
    images_may_keep_no_tokens,
    keeping_all_tokens_changes_nothing,
    keeping_fewer_tokens_changes_outputs,
)
from scope_core.testing.adapters.places import signals_and_places_belong_to_the_token_that_a_patch_moves
from scope_core.testing.adapters.snapshots import diff, snapshot
from scope_core.testing.adapters.stubs import with_parts
from scope_core.testing.failures import PropertyViolation, defined_at, raised, refuse_unexpected

_CHECKS: Mapping[Callable[[Harness], None], str] = {
    adapter_fits_the_model: "it attaches, and the model's outputs depend on its images",
    detaching_restores_the_model: "detaching leaves the module tree as it was found, also after errors",
    keeping_all_tokens_changes_nothing: "keeping every token changes no logit and no generated id",
    keeping_fewer_tokens_changes_outputs: "fewer tokens give other outputs, and generate() returns the caller's prompt",
    decoder_reads_exactly_the_kept_tokens: "the decoder reads the kept tokens, in the unpruned order",
    logits_match_hand_built_embeddings: "logits equal those of embeddings without the dropped tokens",
    receipts_match_what_the_decoder_reads: "receipts state what the decoder reads of each image",
    batches_match_single_prompts: "a left-padded batch, with several images and with none, equals single prompts",
    images_may_keep_no_tokens: "so does a batch in which no token of one image is kept",
    offered_signals_are_delivered: "offered signals are there, finite and each image's own; others are refused",
    signals_and_places_belong_to_the_token_that_a_patch_moves: "new pixels in a patch move the features of one token "
    "most: the one with that row and column, and with those signals",
    plans_come_true: "plans made from image sizes are what happens",
    calls_do_not_affect_later_ones: "no call changes a later one",
}

PROPERTIES: Mapping[str, str] = {check.__name__: about for check, about in _CHECKS.items()}
"""``{property: description}`` of what `check_adapter` tries."""

_FIRST = adapter_fits_the_model.__name__
_RESTORES = detaching_restores_the_model.__name__


@dataclass(frozen=True)
class Conformance:
    """Properties that were tried on an adapter.

    Attributes:
        adapter: Name of the adapter.
        model: Name of the model in its declaration.
        passed: Properties that hold.
        skipped: ``{property: why it cannot be tried on this model}``.
        seconds: Wall time of each property that was tried.
        expected_failures: ``{property: reason}`` of those that do not hold, as ``expected_failures`` said.
    """

    adapter: str
    model: str
    passed: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    expected_failures: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"adapter '{self.adapter}' on {self.model}: {len(self.passed)} of {len(PROPERTIES)} properties hold"]
        lines += [f"  not tried: {name}: {why}" for name, why in self.skipped.items()]
        lines += [f"  expected to fail: {name}: {reason}" for name, reason in self.expected_failures.items()]
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
    expected_failures: Mapping[str, str] | None = None,
) -> Conformance:
    """Try every property of `PROPERTIES`.

    Args:
        adapter: Name of an installed adapter, a table with its options, or an entry that is not installed.
        model: A small model in eval mode, preferably in float32. Random weights suffice if outputs depend on images.
        make_inputs: Arguments of ``model(...)`` for some of three prompts; see `MakeInputs`. ``generate`` gets
            ``input_ids`` as its first argument, and the others by name.
        registry: Where the adapter is looked up; the process' default registry if left out.
        sizes: (height, width) of the images of each prompt, e.g. ``[[(40, 50)], [], [(25, 56), (56, 28)]]``; None
            for prompts whose layout their images' sizes do not say. Plans are checked for these.
        decoder: The module that reads embeddings; ``model.get_decoder()`` if left out.
        tolerance: Tolerance of logits from equal computations in another order, as a share of the largest.
        only: Properties to try, to look for one fault; all if left out. "adapter_fits_the_model" is always among them.
        expected_failures: ``{property: reason}`` of properties that are known not to hold. They are tried, and an error
            says so once one holds.

    Returns:
        The properties that hold, those that cannot be tried on this model, and the expected failures.

    Raises:
        ConformanceError: names every property that does not hold, with how it is violated, and every expected failure
            that holds.
        UnknownNameError: ``only`` or ``expected_failures`` names no property.
        AdapterError: ``adapter`` or ``make_inputs`` is not what it should be, or gives other inputs each time.
    """
    expected = dict(expected_failures or {})
    for name in (*only, *expected):
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
    harness = Harness(options, model, make_inputs, parts, sizes, decoder, tolerance)
    failures: dict[str, str] = {}
    skipped: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for check in _CHECKS:
        name = check.__name__
        if only and name not in only and name != _FIRST:
            continue
        start = time.perf_counter()
        try:
            before, changing = harness.settled
            if name != _FIRST:
                before = snapshot(model, values=True)
            check(harness)
            changes = diff(before, snapshot(model, values=True), ignore=changing)
            if changes and _RESTORES not in failures:
                failures[_RESTORES] = f"after trying '{name}' the model is not as it was found: {some(changes)}"
        except Skipped as reason:
            skipped[name] = str(reason)
        except PropertyViolation as violation:
            failures[name] = str(violation)
        except Exception as error:  # an adapter, or the model because of it, may raise anything
            failures[name] = raised(error, harness.kind)
        seconds[name] = time.perf_counter() - start
        if _FIRST in failures and _FIRST not in expected:
            break  # nothing can be attached, or nothing depends on images: other failures would say no more
    passed = tuple(name for name in seconds if name not in failures and name not in skipped)
    what = f"adapter '{options['name']}' ({defined_at(harness.kind)}) on {type(model).__name__}"
    refuse_unexpected(what, failures, passed, expected, PROPERTIES)
    known = {name: reason for name, reason in expected.items() if name in failures}
    return Conformance(str(options["name"]), harness.declaration.model, passed, skipped, seconds, known)


def _check_arguments(adapter: object, make_inputs: object) -> None:
    """Refuse mistakes that would look like faults of the adapter."""
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
                    f"compared; the same row must always be the same prompt and images: draw them once, or seed a "
                    f"torch.Generator"
                )

"""The property that detaching and errors leave the model as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from scope_core.errors import AttachError
from scope_core.testing.adapters.harness import Harness, some
from scope_core.testing.adapters.snapshots import Snapshot, diff, snapshot
from scope_core.testing.adapters.stubs import OnPurpose
from scope_core.testing.failures import PropertyViolation


def detaching_restores_the_model(harness: Harness) -> None:
    """After a `with` block, after detach(), after errors in modules, in parts and in the block."""
    before, own = snapshot(harness.model, values=True), harness.settled[1]
    with harness.attached(share=0.4):
        wanted = harness.logits(harness.inputs(harness.rows))
    _same(before, harness, "after a `with` block")
    _twice(harness)
    _same(before, harness, "after detach(), called twice")
    for what, failing in _failures(harness):
        with harness.attached(share=0.4), failing, contextlib.suppress(OnPurpose):
            harness.logits(harness.inputs(harness.rows))
        _same(before, harness, f"after an error in {what}")
    with contextlib.suppress(OnPurpose), harness.attached(share=0.4):
        raise OnPurpose("an error in the block")
    _same(before, harness, "after an error in the `with` block")
    with contextlib.suppress(OnPurpose), harness.attached(fails=True):
        harness.logits(harness.inputs(harness.rows))
        raise PropertyViolation("a part raised, and the call went on")
    _same(before, harness, "after an error in a part")
    with harness.attached(share=0.4):
        harness.logits(harness.inputs(harness.rows))
        during = snapshot(harness.model, values=True)
        for what, failing in _failures(harness):
            with failing, contextlib.suppress(OnPurpose):
                harness.logits(harness.inputs(harness.rows))
            left = diff(during, snapshot(harness.model, values=True), ignore=own)
            if left:
                raise PropertyViolation(
                    f"still attached after an error in {what}, the model is not as it was: {some(left)}"
                )
            if not torch.equal(harness.logits(harness.inputs(harness.rows)), wanted):
                raise PropertyViolation(f"still attached after an error in {what}, the same call gives another result")
    _same(before, harness, "after errors while attached")


def _same(before: Snapshot, harness: Harness, when: str) -> None:
    left = diff(before, snapshot(harness.model, values=True))
    if left:
        raise PropertyViolation(f"{when} the model is not as it was found: {some(left)}")


def _twice(harness: Harness) -> None:
    """A second pruner beside the first is refused; detaching twice does no harm."""
    first = harness.pruner(share=0.4).attach(harness.model)
    try:
        second = harness.pruner(share=0.4).attach(harness.model)
    except AttachError:
        return
    else:
        second.detach()
        raise PropertyViolation("a second pruner could be attached beside the first")
    finally:
        first.detach()
        first.detach()


def _failures(harness: Harness) -> list[tuple[str, AbstractContextManager[None]]]:
    """``(name, context)`` of the declared modules; in its context, a module raises."""
    modules: dict[int, tuple[str, nn.Module]] = {}
    for path in harness.declaration.modules.values():
        found: Any = harness.model
        for step in path.split("."):
            found = getattr(found, step, None)
        if isinstance(found, nn.ModuleList):
            found = found[0]
        if isinstance(found, nn.Module):
            modules[id(found)] = (f"{path} ({type(found).__name__})", found)
    if isinstance(harness.reader, nn.Module):
        modules[id(harness.reader)] = ("the decoder", harness.reader)
    return [(what, _raising(module)) for what, module in modules.values()]


@contextmanager
def _raising(module: nn.Module) -> Iterator[None]:
    def fail(*_: Any) -> None:
        raise OnPurpose(f"{type(module).__name__} failed on purpose")

    hook = module.register_forward_hook(fail)
    try:
        yield
    finally:
        hook.remove()

"""Properties of what is left behind: by detaching, by errors, while attached and afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from scope_core.errors import AttachError
from scope_core.testing.adapters.harness import Bench, Broken, some
from scope_core.testing.adapters.snapshots import Snapshot, diff, snapshot
from scope_core.testing.adapters.stubs import OnPurpose


def clean(bench: Bench) -> None:
    """After a `with` block, after detach(), after errors in modules, in parts and in the block."""
    before, own = snapshot(bench.model, values=True), bench.settled[1]
    with bench.attached(share=0.4):
        wanted = bench.logits(bench.inputs(bench.rows))
    _same(before, bench, "after a `with` block")
    _twice(bench)
    _same(before, bench, "after detach(), called twice")
    for what, failing in _failures(bench):
        with bench.attached(share=0.4), failing, contextlib.suppress(OnPurpose):
            bench.logits(bench.inputs(bench.rows))
        _same(before, bench, f"after an error in {what}")
    with contextlib.suppress(OnPurpose), bench.attached(share=0.4):
        raise OnPurpose("an error in the block")
    _same(before, bench, "after an error in the `with` block")
    with contextlib.suppress(OnPurpose), bench.attached(fails=True):
        bench.logits(bench.inputs(bench.rows))
        raise Broken("a part raised, and the call went on")
    _same(before, bench, "after an error in a part")
    with bench.attached(share=0.4):
        bench.logits(bench.inputs(bench.rows))
        during = snapshot(bench.model, values=True)
        for what, failing in _failures(bench):
            with failing, contextlib.suppress(OnPurpose):
                bench.logits(bench.inputs(bench.rows))
            left = diff(during, snapshot(bench.model, values=True), ignore=own)
            if left:
                raise Broken(f"still attached after an error in {what}, the model is not as it was: {some(left)}")
            if not torch.equal(bench.logits(bench.inputs(bench.rows)), wanted):
                raise Broken(f"still attached after an error in {what}, the same call gives another result")
    _same(before, bench, "after errors while attached")


def _same(before: Snapshot, bench: Bench, when: str) -> None:
    left = diff(before, snapshot(bench.model, values=True))
    if left:
        raise Broken(f"{when} the model is not as it was found: {some(left)}")


def _twice(bench: Bench) -> None:
    """A second pruner beside the first is refused; detaching twice does no harm."""
    first = bench.pruner(share=0.4).attach(bench.model)
    try:
        second = bench.pruner(share=0.4).attach(bench.model)
    except AttachError:
        return
    else:
        second.detach()
        raise Broken("a second pruner could be attached beside the first")
    finally:
        first.detach()
        first.detach()


def _failures(bench: Bench) -> list[tuple[str, AbstractContextManager[None]]]:
    """Modules on the way, each with a context in which it raises."""
    modules: dict[int, tuple[str, nn.Module]] = {}
    for path in bench.declaration.modules.values():
        found: Any = bench.model
        for step in path.split("."):
            found = getattr(found, step, None)
        if isinstance(found, nn.ModuleList):
            found = found[0]
        if isinstance(found, nn.Module):
            modules[id(found)] = (f"{path} ({type(found).__name__})", found)
    if isinstance(bench.reader, nn.Module):
        modules[id(bench.reader)] = ("the decoder", bench.reader)
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

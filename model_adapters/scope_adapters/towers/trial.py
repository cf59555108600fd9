"""One blank picture through tower and projector, most of the tower skipped: what a host does between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch

from scope_adapters.towers.layouts import ResolvedTower
from scope_adapters.towers.probe import probe
from scope_core import AdapterError

PAGE = "docs/write-an-adapter.md"


def try_once(model: Any, tower: ResolvedTower, projector: Any, where: str, *, before: int) -> None:
    """Check that ``encode_images`` is the tower's hidden state, then the projector, token by token, then nothing else.

    Args:
        model: The model, unwrapped.
        tower: Its tower.
        projector: Its projector.
        where: The projector's path, for messages.
        before: Tokens before the patches that reach it.

    Raises:
        AdapterError: it is not; names the attribute.
    """
    name, seen = type(model).__name__, []
    weight = next((p for module in (projector, tower.module) for p in module.parameters()), None)
    rows, columns = tower.grid()
    side = tower.module.config.image_size
    picture = torch.zeros(1, 3, *((side, side) if isinstance(side, int) else side)).to(weight)
    hook = projector.register_forward_hook(lambda _module, args, output: seen.append((args, output)))
    devices = [picture.device] if picture.is_cuda else []
    try:
        watched = probe(tower, frozenset({"vision.hidden[1]"}), dtype=None, last=1)
        with untouched(model), torch.no_grad(), torch.random.fork_rng(devices), watched as capture:
            encoded = model.encode_images(picture)
    except (RuntimeError, NotImplementedError):  # e.g. half precision on a CPU; calls are checked as well
        return
    finally:
        hook.remove()
    if len(seen) != 1 or len(seen[0][0]) != 1:
        raise AdapterError(
            f"{name}.encode_images called {where} {len(seen)} times, with {len(seen[0][0]) if seen else 0} arguments, "
            f"for one picture; once, with the tower's features, is what is served. See {PAGE}"
        )
    (given,), projected = seen[0]
    wanted = math.prod((rows, columns)) + before
    if tuple(given.shape[:2]) != (1, wanted):
        raise AdapterError(
            f"{name}: {where} is given {tuple(given.shape[:2])} (pictures, tokens) for one picture, and the tower has "
            f"{rows} x {columns} patches and {before} tokens before them that reach it. See {PAGE}"
        )
    hidden = capture.hidden(1, wanted)
    if hidden.shape != given.shape or not torch.allclose(hidden.to(given), given):
        raise AdapterError(
            f"{name}: what {where} is given is not one hidden state of the tower: {tuple(given.shape[1:])} where the "
            f"tower has {tuple(hidden.shape[1:])}. Towers that join scales (S2) or layers are not served. See {PAGE}"
        )
    if tuple(projected.shape[:2]) != (1, wanted):
        raise AdapterError(
            f"{name}: {where} makes {tuple(projected.shape[:2])} of {tuple(given.shape[:2])} (pictures, tokens); only "
            f"projectors that take tokens one by one are served. See {PAGE}"
        )
    if encoded.shape != projected.shape or not torch.equal(encoded, projected):
        raise AdapterError(f"{name}.encode_images changes what {where} returns, which is not served. See {PAGE}")


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Put back attributes and hooks of all modules: a first pass may leave some, as transformers 5 does."""
    held = []
    for module in model.modules():
        own = dict(vars(module))
        held.append((module, own, {name: dict(it) for name, it in own.items() if isinstance(it, MutableMapping)}))
    try:
        yield
    finally:
        for module, own, tables in held:
            if [(name, id(it)) for name, it in vars(module).items()] != [(name, id(it)) for name, it in own.items()]:
                vars(module).clear()
                vars(module).update(own)
            for name, entries in tables.items():
                if list(own[name]) != list(entries):
                    own[name].clear()
                    own[name].update(entries)

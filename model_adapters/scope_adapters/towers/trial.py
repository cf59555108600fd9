"""A trial: one blank image through tower and projector, to see what a model does between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from scope_adapters.towers.layouts import ResolvedTower
from scope_adapters.towers.probe import probe
from scope_core import AdapterError

PAGE = "docs/write-an-adapter.md"
LIBRARIES = ("torch", "transformers", "accelerate", "peft")
"""Packages whose hooks a model needs in order to run."""


def noise(module: Any, *shape: int) -> Tensor:
    """Noise of ``shape``, the same each time, in the dtype of ``module`` and on its device."""
    weight = next((weight for weight in module.parameters() if weight.is_floating_point()), torch.empty(0))
    device = "cpu" if weight.device.type == "meta" else weight.device  # offloaded weights come to where the input is
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, weight.dtype)


def try_once(model: Any, tower: ResolvedTower, projector: Any, where: str, *, before: int) -> None:
    """Refuse models whose ``encode_images`` does more than apply the projector to one hidden state of the tower.

    Args:
        model: The model, unwrapped.
        tower: Its tower.
        projector: Its projector.
        where: The projector's path, for messages.
        before: Number of tokens before the patches that reach the projector.

    Raises:
        AdapterError: names the attribute.
    """
    name, seen = type(model).__name__, []
    weight = next((p for module in (projector, tower.module) for p in module.parameters()), None)
    rows, columns = tower.grid()
    side = tower.module.config.image_size
    image = torch.zeros(1, 3, *((side, side) if isinstance(side, int) else side)).to(weight)
    hook = projector.register_forward_hook(lambda _module, args, output: seen.append((args, output)))
    devices = [image.device] if image.is_cuda else []
    try:
        watched = probe(tower, frozenset({"vision.hidden[1]"}), dtype=None, last=1)
        with untouched(model), torch.no_grad(), torch.random.fork_rng(devices), watched as capture:
            encoded = model.encode_images(image)
    except (RuntimeError, NotImplementedError):  # e.g. half precision on a CPU; calls are checked, too
        return
    finally:
        hook.remove()
    if len(seen) != 1 or len(seen[0][0]) != 1:
        raise AdapterError(
            f"{name}.encode_images called {where} {len(seen)} times, with {len(seen[0][0]) if seen else 0} arguments, "
            f"for one image; it must call it once, with the tower's features. See {PAGE}"
        )
    (given,), projected = seen[0]
    wanted = math.prod((rows, columns)) + before
    if tuple(given.shape[:2]) != (1, wanted):
        raise AdapterError(
            f"{name}: {where} gets {tuple(given.shape[:2])} (images, tokens) for one image, but the tower has "
            f"{rows} x {columns} patches and {before} tokens before them that reach it. See {PAGE}"
        )
    hidden = capture.hidden(1, wanted)
    if hidden.shape != given.shape or not torch.allclose(hidden.to(given), given):
        raise AdapterError(
            f"{name}: the input of {where} is not one hidden state of the tower: it is {tuple(given.shape[1:])}, the "
            f"tower's {tuple(hidden.shape[1:])}. Towers that join scales (S2) or layers are not supported. See {PAGE}"
        )
    if tuple(projected.shape[:2]) != (1, wanted):
        raise AdapterError(
            f"{name}: {where} turns {tuple(given.shape[:2])} (images, tokens) into {tuple(projected.shape[:2])}; only "
            f"projectors that map each token by itself are supported. See {PAGE}"
        )
    if encoded.shape != projected.shape or not torch.equal(encoded, projected):
        raise AdapterError(f"{name}.encode_images changes the output of {where}, which is not supported. See {PAGE}")


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Restore attributes and hooks of all modules: a first pass may add some, as transformers 5 does."""
    held = []
    for module in model.modules():
        before = dict(vars(module))
        tables = {name: dict(value) for name, value in before.items() if isinstance(value, MutableMapping)}
        held.append((module, before, tables))
    try:
        yield
    finally:
        for module, before, tables in held:
            if _identities(vars(module)) != _identities(before):
                vars(module).clear()
                vars(module).update(before)
            for name, entries in tables.items():
                if list(before[name]) != list(entries):
                    before[name].clear()
                    before[name].update(entries)


def mute(model: Any) -> None:
    """Remove the hooks of callers, who count or record passes; inside `untouched`, which puts them back."""
    for module in model.modules():
        for table in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in list(table.items()):
                home = str(getattr(getattr(hook, "func", hook), "__module__", ""))
                if home.split(".")[0] not in LIBRARIES:
                    del table[key]


def _identities(attributes: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(name, id(value)) for name, value in attributes.items()]

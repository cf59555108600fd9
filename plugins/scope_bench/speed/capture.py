"""Time to read signals while the tower runs, and time saved by skipping its unused last layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from scope_bench.speed.probes import Watched
from scope_bench.speed.select import pruners
from scope_bench.speed.timing import Effort, Progress, finish, in_turns
from scope_core import AttachError, Pruner, Registry
from scope_core.cli.methods import naming

PLAIN, EAGER = "tower, as the model calls it", "tower, every attention map returned (eager)"
NOTHING = "tower in a pruned call, nothing read"


def capture(
    watched: Watched,
    specs: Sequence[str],
    registry: Registry,
    effort: Effort,
    clock: str,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Times of the tower alone, in the model's own call and in pruned calls that read signals.

    In each row, ``tower`` is the time inside the tower, hooks of the probe included, and ``read`` the time to compute
    the signals from what the hooks kept. ``of_plain`` is the sum of both over the time of the plain tower, and
    ``captured`` the reading alone, as a share of the same time.

    Args:
        watched: The model and a call.
        specs: Recipes or spec files; those that prune inside the language model read no signals of the tower.
        registry: The registry that names are looked up in.
        effort: Number of rounds.
        clock: The clock, ``"wall"`` or ``"cpu"``.
        progress: Called with (finished rounds, all rounds).

    Raises:
        AttachError: the model's adapter cannot encode images outside a call.
        ScopeError: a spec is wrong, or the model does not have its signals.
    """
    watched.now = time.process_time if clock == "cpu" else time.perf_counter
    args, kwargs = _given_to_tower(watched)
    tower = watched.module("tower")
    runs: dict[str, Callable[[], Any]] = {}

    def plain() -> dict[str, float]:
        start = watched.now()
        with torch.no_grad():
            tower(*args, **kwargs)
        finish(watched.device)
        return {"tower": (watched.now() - start) * 1e3, "read": 0.0}

    def eager() -> dict[str, float]:
        before = tower.config._attn_implementation
        tower.set_attn_implementation("eager")
        try:
            start = watched.now()
            with torch.no_grad():
                tower(*args, **{**kwargs, "output_attentions": True})
            finish(watched.device)
            return {"tower": (watched.now() - start) * 1e3, "read": 0.0}
        finally:
            tower.set_attn_implementation(before)

    runs[PLAIN] = plain
    reading = _nothing_read(registry)
    runs[NOTHING] = _pruned(watched, reading)
    for text, pruner in pruners(specs, 1, registry).items():
        if pruner.decoder_layer is None:
            runs[f"{text} reads {_short(pruner.needs)}"] = run = _pruned(watched, pruner)
            with naming(text):
                run()
    if hasattr(tower, "set_attn_implementation"):
        runs[EAGER] = eager
    laps = {name: lap.facts() for name, lap in in_turns(runs, effort, watched.device, progress).items()}
    rows = []
    base = _both(laps[PLAIN])
    for name, facts in laps.items():
        parts = facts.pop("parts")
        rows.append({"name": name, **facts, "tower_ms": parts["tower"], "read_ms": parts["read"]})
        rows[-1]["of_plain"] = (parts["tower"]["median"] + parts["read"]["median"]) / base
        reads = " reads " in name
        rows[-1]["captured"] = parts["read"]["median"] / base if reads else None
    return {"model": watched.loaded.name, "images": len(args[0]) if args else None, "clock": clock, "rows": rows}


def _both(facts: dict[str, Any]) -> float:
    return float(facts["parts"]["tower"]["median"] + facts["parts"]["read"]["median"])


def _short(needs: frozenset[str]) -> str:
    return ", ".join(sorted(needs)) or "nothing"


def _nothing_read(registry: Registry) -> Pruner:
    """A pruner that reads no signal."""
    return _Blind({"budget": 1}, registry=registry)


class _Blind(Pruner):
    @property
    def needs(self) -> frozenset[str]:
        return frozenset()


def _pruned(watched: Watched, pruner: Pruner) -> Callable[[], dict[str, float]]:
    def run() -> dict[str, float]:
        watched.spent.clear()
        with watched.watching(), pruner.attach(watched.model) as pruning, torch.no_grad():
            tokens = pruning.encode(watched.inputs).tokens.to_dtype(pruner.dtype)
            finish(watched.device)
            start = watched.now()
            for name in sorted(pruner.needs):
                tokens.signal(name)
            finish(watched.device)
            return {"tower": watched.spent["tower"], "read": (watched.now() - start) * 1e3}

    return run


def _given_to_tower(watched: Watched) -> tuple[Any, dict[str, Any]]:
    """The arguments that the model's own call passes to its tower."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    def keep(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append((args, dict(kwargs)))

    handle = watched.module("tower").register_forward_pre_hook(keep, with_kwargs=True)
    try:
        watched.call(1)
    finally:
        handle.remove()
    if not seen:
        raise AttachError(f"{watched.loaded.name} did not call its tower for a prompt with an image")
    return seen[0]

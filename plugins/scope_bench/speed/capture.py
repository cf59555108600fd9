"""What it costs to read a signal while the tower runs, and what skipping its unused last layers saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from scope_bench.speed.select import pruners
from scope_bench.speed.timing import Effort, Progress, finish, in_turns
from scope_core import AttachError, Pruner
from scope_core.cli.methods import naming

if TYPE_CHECKING:
    from scope_bench.speed.probes import Watched
    from scope_core import Registry

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
    """The tower alone, in the model's own call and in pruned ones that read signals.

    Each row's parts: ``tower`` is time inside the tower, hooks of the probe included; ``read`` is time to compute the
    signals from what the hooks kept. ``of_plain`` is both together over the plain tower; ``captured`` what reading
    adds to a pruned call that reads nothing, as a share of the plain tower.

    Args:
        watched: The model and a call.
        specs: Recipes or spec files; those that prune inside the language model read nothing of the tower.
        registry: Where names are looked up.
        effort: How often.
        clock: ``"wall"`` or ``"cpu"``: what everything is timed by.
        progress: Called with (turns that are done, turns in all).

    Raises:
        AttachError: the model's adapter cannot encode images apart from a call.
        ScopeError: a spec is wrong, or the model cannot give its signals.
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
        told = facts.pop("parts")
        rows.append({"name": name, **facts, "tower_ms": told["tower"], "read_ms": told["read"]})
        rows[-1]["of_plain"] = (told["tower"]["median"] + told["read"]["median"]) / base
        reads = " reads " in name
        rows[-1]["captured"] = told["read"]["median"] / base if reads else None
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
    """Arguments that the model's own call gives to its tower."""
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

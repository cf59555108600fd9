"""A trial of each method before anything is timed, so that one that cannot run does not end the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from scope_bench.speed.inputs import smooth
from scope_bench.speed.select import pruners, square
from scope_core import Pruner, Registry, ScopeError
from scope_core.cli.methods import naming
from scope_core.commands import warn

TOKENS, WIDTH = 64, 16
"""The most tokens of a trial, and the width of their features."""


def on_tensors(specs: Sequence[str], tokens: int, keep: int, registry: Registry) -> tuple[list[str], dict[str, str]]:
    """The methods that can select from features and saliency alone, and ``{method: why not}`` of the others.

    Raises:
        ScopeError: a spec is wrong, or no method is left.
    """
    tokens = min(tokens, TOKENS)
    features, saliency = smooth(tokens, WIDTH).cut(tokens, torch.device("cpu"), torch.float32)

    def attempt(pruner: Pruner) -> None:
        pruner.plan([tokens])
        pruner.select(features, saliency=saliency, grid=square(tokens))

    return _tried(specs, min(keep, tokens), registry, attempt)


def on_model(specs: Sequence[str], keep: int, registry: Registry, model: Any) -> tuple[list[str], dict[str, str]]:
    """The methods that run on a model, and ``{method: why not}`` of the others.

    Raises:
        ScopeError: a spec is wrong, or no method is left.
    """
    return _tried(specs, keep, registry, lambda pruner: pruner.check(model))


def warn_skipped(skipped: Mapping[str, str]) -> None:
    """Warn of methods that are not timed."""
    for name, why in skipped.items():
        warn(f"{name} is not timed: {why}")


def _tried(
    specs: Sequence[str], keep: int, registry: Registry, attempt: Callable[[Pruner], Any]
) -> tuple[list[str], dict[str, str]]:
    left: list[str] = []
    skipped: dict[str, str] = {}
    first: ScopeError | None = None
    for name, pruner in pruners(specs, keep, registry).items():
        try:
            with naming(name):
                attempt(pruner)
        except ScopeError as error:
            first = first or error
            skipped[name] = str(error)
        else:
            left.append(name)
    if first is not None and not left:
        raise first
    return left, skipped

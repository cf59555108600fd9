"""Parts that stand in for a stranger's plugins, registered for one test at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

from torch import Tensor

import scope_core as scope
from scope_core import Registry, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Entry, SaliencySource, hookimpl


class ListedSpec(ComponentSpec):
    """So many tokens of each image, one number per image."""

    name: Literal["listed"] = "listed"
    keep: tuple[int, ...]


class Listed(Budget[ListedSpec]):
    """Counts as they are written."""

    def plan(self, layout: Any, groups: Sequence[Any]) -> tuple[int, ...]:
        assert len(self.spec.keep) == len(layout.images)
        return self.spec.keep


class BrokenSpec(ComponentSpec):
    """Raises when asked for scores."""

    name: Literal["broken"] = "broken"


class Broken(SaliencySource[BrokenSpec]):
    """A plugin with a bug."""

    def score(self, tokens: VisualTokens) -> Tensor:
        raise ZeroDivisionError("a bug in a plugin")


class ReaderSpec(ComponentSpec):
    """Reads signals."""

    name: Literal["reader"] = "reader"
    names: tuple[str, ...]


class Reader(SaliencySource[ReaderSpec]):
    """Asks for signals, and rates all tokens alike."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.spec.names)

    def score(self, tokens: VisualTokens) -> Tensor:
        for name in self.spec.names:
            tokens.signal(name)
        return tokens.valid.float()


def registry(**hooks: Any) -> Registry:
    """The default registry and the parts above; ``hooks`` are further hook functions by name."""

    @hookimpl
    def scope_budgets() -> list[Entry]:
        return [Entry(ListedSpec, Listed, "a list of counts")]

    @hookimpl
    def scope_saliency_sources() -> list[Entry]:
        return [Entry(BrokenSpec, Broken, "raises"), Entry(ReaderSpec, Reader, "reads signals")]

    module = SimpleNamespace(scope_budgets=scope_budgets, scope_saliency_sources=scope_saliency_sources, **hooks)
    return scope.default_registry().with_module(module, name="guests")


_registry = functools.cache(registry)


def keeping(keep: Sequence[int] | int, *, saliency: str = "cls_attention", **options: Any) -> scope.Pruner:
    """SCOPE with so many tokens of each image."""
    budget = {"name": "tokens", "keep": keep} if isinstance(keep, int) else {"name": "listed", "keep": list(keep)}
    spec = {"recipe": "scope", "budget": budget, "saliency": saliency, **options}
    return scope.Pruner(spec, registry=_registry())

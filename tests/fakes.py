"""Small parts and plugin modules for tests, written as a plugin's author would write them."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any, Literal

import torch
from pydantic import create_model

import scope_core as scope
from scope_core.adapters import ModelAdapter
from scope_core.parts import (
    Budget,
    Combiner,
    ComponentSpec,
    Constraint,
    CoverageFunction,
    Entry,
    Merger,
    Optimizer,
    Part,
    Partition,
    PositionPolicy,
    SaliencySource,
    Selector,
    SimilarityMetric,
    Slot,
    hookimpl,
)
from scope_core.tasks import Task


def spec_named(name: str, **options: Any) -> type[ComponentSpec]:
    """A spec model with the given name; options as in `pydantic.create_model`."""
    return create_model("FakeSpec", __base__=ComponentSpec, name=(Literal[name], name), **options)  # type: ignore[valid-type]


def entry(base: type[Part], name: str, *, options: dict[str, Any] | None = None, **members: Any) -> Entry:
    """An entry whose part has the given members, e.g. ``score=lambda self, tokens: ...``."""
    return Entry(spec_named(name, **(options or {})), type("Fake", (base,), members), "a fake part")


def module(name: str = "acme_plugin", **hooks: Iterable[Any]) -> ModuleType:
    """A plugin module whose hook functions return the given items."""
    made = ModuleType(name)
    for hook, items in hooks.items():
        setattr(made, hook, hook_function(name, hook, items))
    return made


def hook_function(owner: str, hook: str, items: Iterable[Any], *, marked: bool = True) -> Any:
    def function() -> Iterable[Any]:
        return items

    function.__name__, function.__module__ = hook, owner
    return hookimpl(function) if marked else function


HOOKS = {
    SaliencySource: "scope_saliency_sources",
    SimilarityMetric: "scope_similarity_metrics",
    CoverageFunction: "scope_coverage_functions",
    Combiner: "scope_combiners",
    Optimizer: "scope_optimizers",
    Selector: "scope_selectors",
    Budget: "scope_budgets",
    Partition: "scope_partitions",
    Constraint: "scope_constraints",
    Merger: "scope_mergers",
    PositionPolicy: "scope_position_policies",
    Task: "scope_tasks",
    ModelAdapter: "scope_adapters",
}


def with_part(registry: scope.Registry, base: type[Part], name: str = "acme.fake", **members: Any) -> scope.Registry:
    """The registry with one more fake part."""
    return registry.with_module(module(**{HOOKS[base]: [entry(base, name, **members)]}))


def built(registry: scope.Registry, kind: str, data: Any) -> Any:
    """A live part from what would stand in a spec's slot."""
    table = {"name": data} if isinstance(data, str) else data
    spec = registry.get(kind, table["name"]).spec.model_validate(table, context={"registry": registry})
    return registry.build(kind, spec)


def least(registry: scope.Registry, kind: str, name: str) -> dict[str, Any]:
    """The shortest table for a part: its required options, lists of parts holding the default of their kind."""
    numbers = {
        "shares": [1],
        "keep": 4,
        "keep_ratio": 0.5,
        "layer": 1,
        "step": 2,
        "layers": 4,
        "rows": [[4, 4]],
        "threshold": 0.5,
        "share": 0.5,
    }
    numbers |= {"questions": "questions.json", "images": "images"}
    together = {("budget", "average"): {"keep": 4}, ("budget", "staged"): {"keep": [4]}}  # one option of several
    together |= {("saliency", "debiased"): {"prior": [[1.0, 2.0]]}}
    together |= {("selector", "pivots"): {"text_pivots": 0}, ("selector", "portion"): {"most": 2}}
    table: dict[str, Any] = {"name": name, **together.get((kind, name), {})}
    spec = registry.get(kind, name).spec
    for option, field in spec.model_fields.items():
        slot = next((meta for meta in field.metadata if isinstance(meta, Slot)), None)
        if not field.is_required() or option == "name" or (slot and not slot.many):
            continue
        default = registry.default(slot.kind) if slot else None
        table[option] = [default.name] if default else numbers[option]
    return table


def random_case(batch: int, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, N, 8) features and (B, N) positive saliency."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, count, 8, generator=generator)
    return features, torch.rand(batch, count, generator=generator) + 0.05

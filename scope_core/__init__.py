"""scope-core: visual-token pruning for multimodal LLMs, from swappable parts.

    import scope_core as scope

    pruner = scope.Pruner("scope@64")
    with pruner.attach(model) as pruning:
        out = model.generate(**inputs)
    print(pruning.receipt)

    selection = scope.select(features, saliency=a, spec="scope@64")     # bare tensors, no model

Names are imported on first use, so that listing parts does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scope_core.registry.lookup import provide_default
from scope_core.version import __version__

if TYPE_CHECKING:
    from scope_core.engine.greedy import greedy, rank, take_turns
    from scope_core.engine.scheduling import by_group
    from scope_core.errors import (
        AdapterError,
        AttachError,
        BudgetError,
        MissingDependencyError,
        PluginConflictError,
        PluginError,
        PluginOutputError,
        ScopeError,
        SignalError,
        SpecError,
        TaskError,
        TokensError,
        TooLargeError,
        UnknownNameError,
        ZooError,
    )
    from scope_core.memory import free_memory
    from scope_core.parts.base import Part
    from scope_core.parts.budget import Budget
    from scope_core.parts.combiner import Combiner
    from scope_core.parts.constraint import Constraint
    from scope_core.parts.coverage import CoverageFunction
    from scope_core.parts.execution import Execution, Scoring, Way, matrix_bytes, plan_execution
    from scope_core.parts.kernel import Kernel
    from scope_core.parts.merger import Merger
    from scope_core.parts.optimizer import Optimizer
    from scope_core.parts.partition import Partition
    from scope_core.parts.position import PositionPolicy
    from scope_core.parts.problem import Problem, scores
    from scope_core.parts.saliency import SaliencySource
    from scope_core.parts.selector import Selector
    from scope_core.parts.similarity import SimilarityMetric
    from scope_core.parts.task import Box, Example, Outcome, Question, Task
    from scope_core.parts.zoo import LoadedModel, Tower, load
    from scope_core.pruning.adapter import ModelAdapter
    from scope_core.pruning.attachment import Attachment
    from scope_core.pruning.compatibility import check_fit
    from scope_core.pruning.patching import replace_attribute, resolve
    from scope_core.pruning.pruner import Pruner, select
    from scope_core.pruning.schedule import Schedule
    from scope_core.pruning.session import Session
    from scope_core.pruning.spec import PrunerSpec
    from scope_core.registry.discovery import default_registry, discover
    from scope_core.registry.entries import Check, Command, Entry, Finding, Recipe, ZooEntry
    from scope_core.registry.hookspecs import CONTRACT, hookimpl
    from scope_core.registry.observers import PluginWarning
    from scope_core.registry.registry import Registry
    from scope_core.registry.specs import ComponentSpec, Slot
    from scope_core.structures.blocks import Blocks
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.encoding import Asked, Encoding, Memo
    from scope_core.structures.layout import Group, ImageLayout, Layout, Plan, Span, apportion, fill, units
    from scope_core.structures.picks import Picks
    from scope_core.structures.receipt import ImageReceipt, Receipt
    from scope_core.structures.selection import Selection
    from scope_core.structures.signals import Offer, SignalName, Signals, parse_signal
    from scope_core.structures.tokens import VisualTokens

_HOMES = {
    "structures.blocks": "Blocks",
    "engine.greedy": "greedy rank take_turns",
    "parts.problem": "Problem scores",
    "errors": "AdapterError AttachError BudgetError MissingDependencyError PluginConflictError PluginError "
    "PluginOutputError ScopeError SignalError SpecError TaskError TokensError TooLargeError "
    "UnknownNameError ZooError",
    "engine.scheduling": "by_group",
    "parts.base": "Part",
    "parts.budget": "Budget",
    "parts.combiner": "Combiner",
    "parts.constraint": "Constraint",
    "parts.coverage": "CoverageFunction",
    "parts.merger": "Merger",
    "parts.optimizer": "Optimizer",
    "parts.partition": "Partition",
    "parts.position": "PositionPolicy",
    "parts.saliency": "SaliencySource",
    "parts.selector": "Selector",
    "parts.similarity": "SimilarityMetric",
    "structures.picks": "Picks",
    "memory": "free_memory",
    "parts.execution": "Execution Scoring Way matrix_bytes plan_execution",
    "parts.kernel": "Kernel",
    "parts.zoo": "LoadedModel Tower load",
    "pruning.adapter": "ModelAdapter",
    "pruning.attachment": "Attachment",
    "pruning.compatibility": "check_fit",
    "pruning.patching": "replace_attribute resolve",
    "pruning.pruner": "Pruner select",
    "pruning.schedule": "Schedule",
    "pruning.session": "Session",
    "pruning.spec": "PrunerSpec",
    "registry.discovery": "default_registry discover",
    "registry.entries": "Check Command Entry Finding Recipe ZooEntry",
    "registry.hookspecs": "CONTRACT hookimpl",
    "registry.observers": "PluginWarning",
    "registry.registry": "Registry",
    "registry.specs": "ComponentSpec Slot",
    "structures.declaration": "Declaration",
    "structures.encoding": "Asked Encoding Memo",
    "structures.layout": "Group ImageLayout Layout Plan Span apportion fill units",
    "structures.receipt": "ImageReceipt Receipt",
    "structures.selection": "Selection",
    "structures.signals": "Offer SignalName Signals parse_signal",
    "structures.tokens": "VisualTokens",
    "parts.task": "Box Example Outcome Question Task",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "CONTRACT",
    "AdapterError",
    "Asked",
    "AttachError",
    "Attachment",
    "Blocks",
    "Box",
    "Budget",
    "BudgetError",
    "Check",
    "Combiner",
    "Command",
    "ComponentSpec",
    "Constraint",
    "CoverageFunction",
    "Declaration",
    "Encoding",
    "Entry",
    "Example",
    "Execution",
    "Finding",
    "Group",
    "ImageLayout",
    "ImageReceipt",
    "Kernel",
    "Layout",
    "LoadedModel",
    "Memo",
    "Merger",
    "MissingDependencyError",
    "ModelAdapter",
    "Offer",
    "Optimizer",
    "Outcome",
    "Part",
    "Partition",
    "Picks",
    "Plan",
    "PluginConflictError",
    "PluginError",
    "PluginOutputError",
    "PluginWarning",
    "PositionPolicy",
    "Problem",
    "Pruner",
    "PrunerSpec",
    "Question",
    "Receipt",
    "Recipe",
    "Registry",
    "SaliencySource",
    "Schedule",
    "ScopeError",
    "Scoring",
    "Selection",
    "Selector",
    "Session",
    "SignalError",
    "SignalName",
    "Signals",
    "SimilarityMetric",
    "Slot",
    "Span",
    "SpecError",
    "Task",
    "TaskError",
    "TokensError",
    "TooLargeError",
    "Tower",
    "UnknownNameError",
    "VisualTokens",
    "Way",
    "ZooEntry",
    "ZooError",
    "__version__",
    "apportion",
    "by_group",
    "check_fit",
    "default_registry",
    "discover",
    "fill",
    "free_memory",
    "greedy",
    "hookimpl",
    "load",
    "matrix_bytes",
    "parse_signal",
    "plan_execution",
    "rank",
    "replace_attribute",
    "resolve",
    "scores",
    "select",
    "take_turns",
    "units",
]


if not TYPE_CHECKING:  # those who check types know the imports above, and find names that are not there

    def __getattr__(name: str) -> Any:
        if name in _HOME_OF:
            value = globals()[name] = getattr(importlib.import_module(f"scope_core.{_HOME_OF[name]}"), name)
            return value
        raise AttributeError(f"module 'scope_core' has no attribute '{name}'")


def _default_registry() -> Any:
    return importlib.import_module("scope_core.registry.discovery").default_registry()


provide_default(_default_registry)


def __dir__() -> list[str]:
    return list(__all__)

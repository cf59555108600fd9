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

if TYPE_CHECKING:
    from scope_core.attach import Attachment, replace_attribute, resolve
    from scope_core.blocks import Blocks
    from scope_core.discovery import PluginWarning, default_registry, discover
    from scope_core.encoding import Asked, Encoding, Memo
    from scope_core.engine import Problem, greedy, rank, scores, take_turns
    from scope_core.entries import Check, Command, Entry, Finding, Recipe, ZooEntry
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
    from scope_core.fitting import check_fit
    from scope_core.groupwise import by_group
    from scope_core.hookspecs import CONTRACT, hookimpl
    from scope_core.interfaces import (
        Budget,
        Combiner,
        Constraint,
        CoverageFunction,
        Declaration,
        LoadedModel,
        Merger,
        ModelAdapter,
        Optimizer,
        Part,
        Partition,
        Picks,
        PositionPolicy,
        SaliencySource,
        Selector,
        SimilarityMetric,
        Tower,
    )
    from scope_core.layout import Group, ImageLayout, Layout, Plan, Span, apportion, fill, units
    from scope_core.memory import free_memory
    from scope_core.parts.execution import Execution, Scoring, Way, matrix_bytes, plan_execution
    from scope_core.parts.kernel import Kernel
    from scope_core.pruner import Pruner, load, select
    from scope_core.pruner_spec import PrunerSpec
    from scope_core.receipt import ImageReceipt, Receipt
    from scope_core.registry import Registry
    from scope_core.selection import Selection
    from scope_core.signals import Offer, SignalName, Signals, parse_signal
    from scope_core.specs import ComponentSpec, Slot
    from scope_core.tasks import Box, Example, Outcome, Question, Task
    from scope_core.tokens import VisualTokens

_HOMES = {
    "attach": "Attachment replace_attribute resolve",
    "discovery": "PluginWarning default_registry discover",
    "encoding": "Asked Encoding Memo",
    "blocks": "Blocks",
    "engine": "Problem greedy rank scores take_turns",
    "groupwise": "by_group",
    "memory": "free_memory",
    "parts.execution": "Execution Scoring Way matrix_bytes plan_execution",
    "parts.kernel": "Kernel",
    "errors": "AdapterError AttachError BudgetError MissingDependencyError PluginConflictError PluginError "
    "PluginOutputError ScopeError SignalError SpecError TaskError TokensError TooLargeError UnknownNameError "
    "ZooError",
    "fitting": "check_fit",
    "hookspecs": "CONTRACT hookimpl",
    "interfaces": "Budget Combiner Constraint CoverageFunction Declaration LoadedModel Merger ModelAdapter Optimizer "
    "Part Partition Picks PositionPolicy SaliencySource Selector SimilarityMetric Tower",
    "layout": "Group ImageLayout Layout Plan Span apportion fill units",
    "pruner": "Pruner load select",
    "pruner_spec": "PrunerSpec",
    "receipt": "ImageReceipt Receipt",
    "entries": "Check Command Entry Finding Recipe ZooEntry",
    "registry": "Registry",
    "selection": "Selection",
    "signals": "Offer SignalName Signals parse_signal",
    "specs": "ComponentSpec Slot",
    "tasks": "Box Example Outcome Question Task",
    "tokens": "VisualTokens",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__version__ = "0.1.0"
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
    "ScopeError",
    "Scoring",
    "Selection",
    "Selector",
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


def __dir__() -> list[str]:
    return list(__all__)

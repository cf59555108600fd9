"""scope-core: visual-token pruning for multimodal LLMs, from swappable parts.

    import scope_core as scope

    pruner = scope.Pruner("scope@64")
    with pruner.attach(model) as pruning:
        out = model.generate(**inputs)
    print(pruning.receipt)

    selection = scope.select(features, saliency=a, spec="scope@64")     # bare tensors, no model

This module holds what runs pruners, greedy selection, and all errors. Plugin authors import from `scope_core.parts`,
`scope_core.adapters`, `scope_core.tasks`, `scope_core.commands` and `scope_core.testing`. Names are imported on
first use, so that listing parts does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scope_core.faces import lazy
from scope_core.registry.lookup import provide_default
from scope_core.version import __version__

if TYPE_CHECKING:
    from scope_core import adapters as adapters
    from scope_core import parts as parts
    from scope_core import tasks as tasks
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
    from scope_core.parts.zoo import load
    from scope_core.pruning.attachment import Attachment, attached, detach
    from scope_core.pruning.pruner import Pruner, select
    from scope_core.pruning.spec import PrunerSpec
    from scope_core.registry.discovery import default_registry, discover
    from scope_core.registry.observers import PluginWarning
    from scope_core.registry.registry import Registry
    from scope_core.structures.layout import Layout, Plan
    from scope_core.structures.receipt import ImageReceipt, Receipt
    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens

_HOMES = {
    "engine.greedy": "greedy rank take_turns",
    "engine.scheduling": "by_group",
    "errors": "AdapterError AttachError BudgetError MissingDependencyError PluginConflictError PluginError "
    "PluginOutputError ScopeError SignalError SpecError TaskError TokensError TooLargeError "
    "UnknownNameError ZooError",
    "parts.zoo": "load",
    "pruning.attachment": "Attachment attached detach",
    "pruning.pruner": "Pruner select",
    "pruning.spec": "PrunerSpec",
    "registry.discovery": "default_registry discover",
    "registry.observers": "PluginWarning",
    "registry.registry": "Registry",
    "structures.layout": "Layout Plan",
    "structures.receipt": "ImageReceipt Receipt",
    "structures.selection": "Selection",
    "structures.tokens": "VisualTokens",
}
_MOVED = {
    "adapters": "Asked Declaration Encoding LoadedModel Memo ModelAdapter Offer Schedule Session Tower ZooEntry "
    "check_fit replace_attribute resolve",
    "commands": "Check Command Finding",
    "parts": "Blocks Budget CONTRACT Combiner ComponentSpec Constraint CoverageFunction Entry Execution Group "
    "ImageLayout Kernel Merger Optimizer Part Partition Picks PositionPolicy Problem Recipe "
    "SaliencySource Scoring Selector SignalName Signals SimilarityMetric Slot Span Way apportion "
    "fill free_memory hookimpl matrix_bytes parse_signal plan_execution scores "
    "units",
    "tasks": "Box Example Outcome Question Task",
}
"""Names that this module held in 0.1.0, by the module that holds them now."""

__all__ = [
    "AdapterError",
    "AttachError",
    "Attachment",
    "BudgetError",
    "ImageReceipt",
    "Layout",
    "MissingDependencyError",
    "Plan",
    "PluginConflictError",
    "PluginError",
    "PluginOutputError",
    "PluginWarning",
    "Pruner",
    "PrunerSpec",
    "Receipt",
    "Registry",
    "ScopeError",
    "Selection",
    "SignalError",
    "SpecError",
    "TaskError",
    "TokensError",
    "TooLargeError",
    "UnknownNameError",
    "VisualTokens",
    "ZooError",
    "__version__",
    "attached",
    "by_group",
    "default_registry",
    "detach",
    "discover",
    "greedy",
    "load",
    "rank",
    "select",
    "take_turns",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__ = lazy(__name__, _HOMES, _MOVED, faces=("adapters", "commands", "parts", "tasks", "testing"))


def _default_registry() -> Any:
    return importlib.import_module("scope_core.registry.discovery").default_registry()


provide_default(_default_registry)

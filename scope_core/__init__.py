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

if TYPE_CHECKING:
    from scope_core import adapters as adapters
    from scope_core import parts as parts
    from scope_core import plot as plot
    from scope_core import tasks as tasks
    from scope_core.engine.greedy import greedy as greedy
    from scope_core.engine.greedy import rank as rank
    from scope_core.engine.greedy import take_turns as take_turns
    from scope_core.engine.grouping import ungroup as ungroup
    from scope_core.engine.scheduling import by_group as by_group
    from scope_core.errors import AdapterError as AdapterError
    from scope_core.errors import AttachError as AttachError
    from scope_core.errors import BudgetError as BudgetError
    from scope_core.errors import MissingDependencyError as MissingDependencyError
    from scope_core.errors import PluginConflictError as PluginConflictError
    from scope_core.errors import PluginError as PluginError
    from scope_core.errors import PluginOutputError as PluginOutputError
    from scope_core.errors import ScopeError as ScopeError
    from scope_core.errors import SignalError as SignalError
    from scope_core.errors import SpecError as SpecError
    from scope_core.errors import TaskError as TaskError
    from scope_core.errors import TokensError as TokensError
    from scope_core.errors import TooLargeError as TooLargeError
    from scope_core.errors import UnknownNameError as UnknownNameError
    from scope_core.errors import ZooError as ZooError
    from scope_core.parts.zoo import load as load
    from scope_core.pruning.attachment import Attachment as Attachment
    from scope_core.pruning.attachment import attached as attached
    from scope_core.pruning.attachment import detach as detach
    from scope_core.pruning.pruner import Pruner as Pruner
    from scope_core.pruning.pruner import select as select
    from scope_core.pruning.spec import PrunerSpec as PrunerSpec
    from scope_core.pruning.stream import Stream as Stream
    from scope_core.registry.discovery import default_registry as default_registry
    from scope_core.registry.discovery import discover as discover
    from scope_core.registry.observers import PluginWarning as PluginWarning
    from scope_core.registry.registry import Registry as Registry
    from scope_core.structures.layout import Layout as Layout
    from scope_core.structures.layout import Plan as Plan
    from scope_core.structures.receipt import ImageReceipt as ImageReceipt
    from scope_core.structures.receipt import Receipt as Receipt
    from scope_core.structures.selection import Selection as Selection
    from scope_core.structures.tokens import VisualTokens as VisualTokens
    from scope_core.sweeps.sweep import sweep as sweep
    from scope_core.sweeps.table import Sweep as Sweep
    from scope_core.version import __version__ as __version__

_HOMES = {
    "engine.greedy": "greedy rank take_turns",
    "engine.grouping": "ungroup",
    "engine.scheduling": "by_group",
    "errors": "AdapterError AttachError BudgetError MissingDependencyError PluginConflictError PluginError "
    "PluginOutputError ScopeError SignalError SpecError TaskError TokensError TooLargeError "
    "UnknownNameError ZooError",
    "parts.zoo": "load",
    "pruning.attachment": "Attachment attached detach",
    "pruning.pruner": "Pruner select",
    "pruning.spec": "PrunerSpec",
    "pruning.stream": "Stream",
    "registry.discovery": "default_registry discover",
    "registry.observers": "PluginWarning",
    "registry.registry": "Registry",
    "structures.layout": "Layout Plan",
    "structures.receipt": "ImageReceipt Receipt",
    "structures.selection": "Selection",
    "structures.tokens": "VisualTokens",
    "sweeps.sweep": "sweep",
    "sweeps.table": "Sweep",
    "version": "__version__",
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

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(
        __name__, _HOMES, _MOVED, faces=("adapters", "commands", "parts", "plot", "tasks", "testing")
    )


def _default_registry() -> Any:
    return importlib.import_module("scope_core.registry.discovery").default_registry()


provide_default(_default_registry)

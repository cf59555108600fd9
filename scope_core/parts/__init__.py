"""Names for authors of parts: one abstract class for each kind, and the functions that parts call.

    from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl

Names are imported on first use, so that registering a part does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
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
    from scope_core.registry.entries import Entry, Recipe
    from scope_core.registry.hookspecs import CONTRACT, hookimpl
    from scope_core.registry.specs import ComponentSpec, Slot, Spec
    from scope_core.structures.blocks import Blocks
    from scope_core.structures.layout import Group, ImageLayout, Span, apportion, fill, units
    from scope_core.structures.picks import Picks
    from scope_core.structures.signals import SignalName, Signals, parse_signal

_HOMES = {
    "memory": "free_memory",
    "parts.base": "Part",
    "parts.budget": "Budget",
    "parts.combiner": "Combiner",
    "parts.constraint": "Constraint",
    "parts.coverage": "CoverageFunction",
    "parts.execution": "Execution Scoring Way matrix_bytes plan_execution",
    "parts.kernel": "Kernel",
    "parts.merger": "Merger",
    "parts.optimizer": "Optimizer",
    "parts.partition": "Partition",
    "parts.position": "PositionPolicy",
    "parts.problem": "Problem scores",
    "parts.saliency": "SaliencySource",
    "parts.selector": "Selector",
    "parts.similarity": "SimilarityMetric",
    "registry.entries": "Entry Recipe",
    "registry.hookspecs": "CONTRACT hookimpl",
    "registry.specs": "ComponentSpec Slot Spec",
    "structures.blocks": "Blocks",
    "structures.layout": "Group ImageLayout Span apportion fill units",
    "structures.picks": "Picks",
    "structures.signals": "SignalName Signals parse_signal",
}

__all__ = [
    "CONTRACT",
    "Blocks",
    "Budget",
    "Combiner",
    "ComponentSpec",
    "Constraint",
    "CoverageFunction",
    "Entry",
    "Execution",
    "Group",
    "ImageLayout",
    "Kernel",
    "Merger",
    "Optimizer",
    "Part",
    "Partition",
    "Picks",
    "PositionPolicy",
    "Problem",
    "Recipe",
    "SaliencySource",
    "Scoring",
    "Selector",
    "SignalName",
    "Signals",
    "SimilarityMetric",
    "Slot",
    "Span",
    "Spec",
    "Way",
    "apportion",
    "fill",
    "free_memory",
    "hookimpl",
    "matrix_bytes",
    "parse_signal",
    "plan_execution",
    "scores",
    "units",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__ = lazy(__name__, _HOMES)

"""Names for authors of parts: one abstract class for each kind, and the functions that parts call.

    from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl

Names are imported on first use, so that registering a part does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.memory import free_memory as free_memory
    from scope_core.parts.base import Part as Part
    from scope_core.parts.budget import Budget as Budget
    from scope_core.parts.combiner import Combiner as Combiner
    from scope_core.parts.constraint import Constraint as Constraint
    from scope_core.parts.coverage import CoverageFunction as CoverageFunction
    from scope_core.parts.execution import Execution as Execution
    from scope_core.parts.execution import Scoring as Scoring
    from scope_core.parts.execution import Way as Way
    from scope_core.parts.execution import matrix_bytes as matrix_bytes
    from scope_core.parts.execution import plan_execution as plan_execution
    from scope_core.parts.kernel import Kernel as Kernel
    from scope_core.parts.merger import Merger as Merger
    from scope_core.parts.optimizer import Optimizer as Optimizer
    from scope_core.parts.partition import Partition as Partition
    from scope_core.parts.partition import TokenPartition as TokenPartition
    from scope_core.parts.position import PositionPolicy as PositionPolicy
    from scope_core.parts.problem import Problem as Problem
    from scope_core.parts.problem import scores as scores
    from scope_core.parts.problem import similarities as similarities
    from scope_core.parts.problem import similarity_rows as similarity_rows
    from scope_core.parts.saliency import SaliencySource as SaliencySource
    from scope_core.parts.selector import Selector as Selector
    from scope_core.parts.similarity import SimilarityMetric as SimilarityMetric
    from scope_core.parts.statistic import Statistic as Statistic
    from scope_core.parts.statistic import measured as measured
    from scope_core.registry.entries import Entry as Entry
    from scope_core.registry.entries import Recipe as Recipe
    from scope_core.registry.hookspecs import CONTRACT as CONTRACT
    from scope_core.registry.hookspecs import hookimpl as hookimpl
    from scope_core.registry.specs import ComponentSpec as ComponentSpec
    from scope_core.registry.specs import Slot as Slot
    from scope_core.registry.specs import Spec as Spec
    from scope_core.structures.blocks import Blocks as Blocks
    from scope_core.structures.calibration import Calibration as Calibration
    from scope_core.structures.layout import Group as Group
    from scope_core.structures.layout import ImageLayout as ImageLayout
    from scope_core.structures.layout import Span as Span
    from scope_core.structures.picks import Picks as Picks
    from scope_core.structures.plain import unit_rows as unit_rows
    from scope_core.structures.signals import SignalName as SignalName
    from scope_core.structures.signals import Signals as Signals
    from scope_core.structures.signals import parse_signal as parse_signal
    from scope_core.structures.sizes import GroupSize as GroupSize
    from scope_core.structures.units import apportion as apportion
    from scope_core.structures.units import fill as fill
    from scope_core.structures.units import units as units

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
    "parts.partition": "Partition TokenPartition",
    "parts.position": "PositionPolicy",
    "parts.problem": "Problem scores similarities similarity_rows",
    "parts.saliency": "SaliencySource",
    "parts.selector": "Selector",
    "parts.similarity": "SimilarityMetric",
    "parts.statistic": "Statistic measured",
    "registry.entries": "Entry Recipe",
    "registry.hookspecs": "CONTRACT hookimpl",
    "registry.specs": "ComponentSpec Slot Spec",
    "structures.blocks": "Blocks",
    "structures.calibration": "Calibration",
    "structures.layout": "Group ImageLayout Span",
    "structures.picks": "Picks",
    "structures.plain": "unit_rows",
    "structures.signals": "SignalName Signals parse_signal",
    "structures.sizes": "GroupSize",
    "structures.units": "apportion fill units",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(__name__, _HOMES)

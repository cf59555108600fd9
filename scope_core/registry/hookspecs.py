"""The hooks that a plugin can implement.

A plugin is a module named by an entry point in the group ``scope_core``::

    [project.entry-points.scope_core]
    acme = "acme_pruning"

and implements any of these functions, marked with ``@scope_core.parts.hookimpl``. Registration hooks are called
once, when the registry is built, and return an iterable. Built-in parts are registered in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from scope_core.registry.entries import Check, Command, Entry, Recipe, ZooEntry
    from scope_core.structures.receipt import Receipt

PROJECT = "scope_core"

CONTRACT = (1, 1)
"""Version of the contract between scope-core and plugins: major, minor. A plugin may declare the version that it was
built for, with ``scope_contract = "1"`` (or ``"1.0"``) in the module that its entry point names; see
docs/decisions/0012."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def scope_saliency_sources() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Saliency sources: how much each token matters on its own. Targets subclass `SaliencySource`."""


@hookspec
def scope_similarity_metrics() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Similarity metrics between tokens. Targets subclass `SimilarityMetric`."""


@hookspec
def scope_coverage_functions() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Set functions, defined by their marginal gain. Targets subclass `CoverageFunction`."""


@hookspec
def scope_combiners() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Combiners of gain and saliency into one score. Targets subclass `Combiner`."""


@hookspec
def scope_optimizers() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Optimizers: the order in which tokens are picked by score. Targets subclass `Optimizer`."""


@hookspec
def scope_selectors() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Selectors: whole selection steps. Targets subclass `Selector`."""


@hookspec
def scope_statistics() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Statistics: one number for each group of tokens. Targets subclass `Statistic`."""


@hookspec
def scope_budgets() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Budgets: how many tokens are kept. Targets subclass `Budget`."""


@hookspec
def scope_partitions() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Partitions: which tokens are selected together. Targets subclass `Partition`."""


@hookspec
def scope_constraints() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Constraints: tokens that must stay or must go. Targets subclass `Constraint`."""


@hookspec
def scope_mergers() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Mergers: what happens to dropped tokens. Targets subclass `Merger`."""


@hookspec
def scope_position_policies() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Position policies: position ids after pruning. Targets subclass `PositionPolicy`."""


@hookspec
def scope_tasks() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Tasks: questions about images, with answers, for ``scope bench accuracy``. Targets subclass `Task`."""


@hookspec
def scope_adapters() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Adapters, which intercept a model's image tokens. Targets subclass `ModelAdapter`."""


@hookspec
def scope_recipes() -> Iterable[Recipe]:  # type: ignore[empty-body]
    """Named, complete pruner specs."""


@hookspec
def scope_zoo() -> Iterable[ZooEntry]:  # type: ignore[empty-body]
    """Models and towers that can be loaded by name."""


@hookspec
def scope_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Commands of the command line, listed after those of scope-core."""


@hookspec
def scope_checks() -> Iterable[Check]:  # type: ignore[empty-body]
    """Self-checks that ``scope doctor`` runs."""


@hookspec
def scope_attached(model: object, adapter: str, spec: str) -> None:
    """Observer: a pruner was attached to ``model``. Read-only; called once per attach.

    Args:
        model: The model.
        adapter: Name of the adapter.
        spec: The pruner's spec as JSON.
    """


@hookspec
def scope_selected(receipt: Receipt) -> None:
    """Observer: one call's images were pruned. Read-only; called once per call, never per pick.

    Args:
        receipt: Report of what was pruned (see `scope_core.Receipt`).
    """

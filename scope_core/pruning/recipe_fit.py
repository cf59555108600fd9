"""`recipe_fits`: the recipes that run on a model, and the variants that run where a recipe does not."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scope_core.display import brief_repr
from scope_core.errors import AdapterError, ScopeError, SignalError, listed
from scope_core.pruning.adapter import ModelAdapter
from scope_core.pruning.compatibility import all_adapters, check_parts, matching_adapter
from scope_core.pruning.schedule import Schedule
from scope_core.registry.discovery import default_registry
from scope_core.registry.registry import Registry
from scope_core.structures.declaration import Declaration


@dataclass(frozen=True)
class RecipeFit:
    """Whether a recipe runs on a model.

    Attributes:
        recipe: Name of the recipe.
        why: The reason why it cannot run there; empty if it runs.
        variants: Recipes of the same method that run there, if it does not.
    """

    recipe: str
    why: str = ""
    variants: tuple[str, ...] = ()

    __repr__ = brief_repr

    @property
    def runs(self) -> bool:
        """True if the recipe runs as it is."""
        return not self.why

    def __str__(self) -> str:
        if self.runs:
            return "runs"
        return f"runs as {', '.join(self.variants)}" if self.variants else f"cannot run: {self.why}"


def recipe_fits(model: Any, *, adapter: str | None = None, registry: Registry | None = None) -> list[RecipeFit]:
    """Every recipe, and whether it runs on ``model``. Hooks nothing.

    Args:
        model: A model that an adapter serves; the folder of one, as a `pathlib.Path`, whose weights are not read; or a
            `Declaration`.
        adapter: Name of the adapter; the one that matches the model if left out.
        registry: Registry of the recipes; by default that of the process.

    Raises:
        AdapterError: no adapter fits, several do, or the model is not as declared.
    """
    known = registry or default_registry()
    also: Callable[[Schedule], None] | None = None
    if not isinstance(model, Declaration):
        found = _without_weights(model, known) if isinstance(model, Path) else model
        serving = matching_adapter(found, known, adapter)
        model, also = serving.check(found), partial(serving.check_pruner, found)
    reasons = {name: _why(name, model, known, also) for name in known.names("recipe")}
    return [
        RecipeFit(name, why, tuple(other for other in _family(name, reasons) if why and not reasons[other]))
        for name, why in reasons.items()
    ]


def check_fit(pruner: Schedule, declaration: Declaration, given: Collection[str] = ()) -> None:
    """Check that the model offers what the parts of all stages need, before anything is hooked.

    Args:
        pruner: The pruner.
        declaration: The points and signals that the model offers.
        given: Further signals, which the caller supplies: their names, or functions by name.

    Raises:
        AdapterError: the model has no such interception point, or cannot merge tokens there.
        SignalError: a signal is missing; names the part, the signal, the model, and parts that would work.
    """
    try:
        check_parts(pruner, declaration, given)
    except (AdapterError, SignalError) as error:
        recipe, registry = pruner.spec.recipe, pruner.registry
        names = _family(recipe, registry.names("recipe")) if recipe else []
        variants = [name for name in names if not _why(name, declaration, registry)]
        if not variants:
            raise
        verb = "does" if len(variants) == 1 else "do"
        raise type(error)(
            f"recipe '{recipe}' does not run on {declaration.model}, but {listed(variants)} {verb}: {error}"
        ) from None


def check_model(model: Any, pruner: Schedule, adapter: ModelAdapter[Any], given: Collection[str] = ()) -> Declaration:
    """The points and signals that ``model`` offers, after a check that ``pruner`` can use it through ``adapter``.

    Raises:
        AdapterError: the model is not as declared, or the pruner does not go with it.
        SignalError: a part needs a signal that the model cannot give.
    """
    declaration = adapter.check(model)
    check_fit(pruner, declaration, given)
    adapter.check_pruner(model, pruner, tuple(given))
    return declaration


def _without_weights(folder: Path, registry: Registry) -> Any:
    """A model without weights, as an adapter reads it from ``folder``."""
    adapters, _ = all_adapters(registry)
    for adapter in adapters:
        model = adapter.without_weights(folder)
        if model is not None:
            return model
    raise AdapterError(
        f"no adapter reads a model from the folder '{folder}'; it needs a config.json of a model that one of these "
        f"serves: {listed(adapter.spec.name for adapter in adapters)}"
    )


def _family(name: str, names: Collection[str]) -> list[str]:
    """The other recipes of the same method: variants differ from it by what follows ``@``."""
    return [other for other in names if other != name and other.partition("@")[0] == name.partition("@")[0]]


def _why(
    name: str, declaration: Declaration, registry: Registry, also: Callable[[Schedule], None] | None = None
) -> str:
    """The reason why a recipe cannot run on the model, whose adapter may check more; empty if it can."""
    try:
        pruner = Schedule(name, registry=registry)
        check_parts(pruner, declaration)
        if also is not None:
            also(pruner)
    except ScopeError as error:
        return str(error)
    return ""

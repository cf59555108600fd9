"""Facts about a method, from its recipes: variants, signals, the models it runs on, and whether vLLM serves it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from scope_adapters import table
from scope_adapters.table import Row
from scope_core import Pruner, Registry, SpecError
from scope_core.adapters import Declaration, RecipeFit, recipe_fits
from scope_core.parts import parse_signal

PLACES = {"vision": "before the projector", "projected": "after the projector"}
PROMPT = ("decoder.last_query_attention", "decoder.received_attention")
"""Signals that depend on the question, beside those with "text" in their name."""


@dataclass(frozen=True)
class Host:
    """A family of models.

    Attributes:
        name: Name of its adapter.
        declaration: What a model of its default configuration offers.
        registry: The registry of the recipes.
    """

    name: str
    declaration: Declaration
    registry: Registry

    @cached_property
    def fits(self) -> dict[str, RecipeFit]:
        """Whether each recipe runs on it."""
        return {fit.recipe: fit for fit in recipe_fits(self.declaration, registry=self.registry)}


def hosts(registry: Registry, rows: Sequence[Row] | None = None) -> list[Host]:
    """Every family of models with a default configuration, built without weights.

    Args:
        registry: Registry of the adapters.
        rows: The table of adapters, if it was made before, which takes some seconds.
    """
    found = table.rows(registry) if rows is None else rows
    return [Host(row.name, row.declaration, registry) for row in found if row.declaration is not None]


@dataclass(frozen=True)
class Method:
    """A recipe as a page shows it; its variants are those of the same method.

    Attributes:
        name: Name of the recipe.
        registry: The registry of the recipes.
    """

    name: str
    registry: Registry

    @cached_property
    def item(self) -> Any:
        """The recipe. Raises `UnknownNameError` if the registry does not have it."""
        return self.registry.get("recipe", self.name).item

    @cached_property
    def pruner(self) -> Pruner:
        """The recipe with its own budget, or with 64 tokens if it has none."""
        return Pruner({"recipe": self.name, "budget": self.item.spec.get("budget", 64)}, registry=self.registry)

    @cached_property
    def base(self) -> str:
        """Name of the method: that of the recipe, without what follows ``@``."""
        return self.name.partition("@")[0]

    @cached_property
    def variants(self) -> list[Method]:
        """The other recipes of the method."""
        names = self.registry.names("recipe", [self.base, f"{self.base}@*"])
        return [Method(name, self.registry) for name in names if name != self.name]

    @cached_property
    def needs(self) -> list[str]:
        """The signals that its stages read, sorted."""
        return sorted({name for stage in self.pruner.stages for name in stage.needs})

    @cached_property
    def points(self) -> list[str]:
        """Its interception points, in order."""
        return [stage.spec.at for stage in self.pruner.stages]

    @property
    def place(self) -> str:
        """Where it acts, in words."""
        first = self.points[0]
        return "inside the language model" if first.startswith("decoder") else PLACES.get(first, first)

    @property
    def needs_cls(self) -> bool:
        """True if it needs a tower with a CLS token."""
        return any(parse_signal(name)[0].startswith("vision.cls") for name in self.needs)

    @property
    def needs_text(self) -> bool:
        """True if its choice depends on the question."""
        return any("text" in name or name.startswith(PROMPT) for name in self.needs)

    @property
    def attention_free(self) -> bool:
        """True if it reads no attention."""
        return not any("attention" in name for name in self.needs)

    @property
    def merges(self) -> bool:
        """True if dropped tokens are merged into kept ones."""
        return any(stage.spec.merger.name != "none" for stage in self.pruner.stages)

    def runs_on(self, known: Sequence[Host]) -> dict[str, str]:
        """``{adapter: why it cannot run there}``; empty if it runs."""
        found = {}
        for host in known:
            runs = host.fits[self.name].runs
            found[host.name] = "" if runs else self._lack(host.declaration) or "it cannot merge there"
        return found

    def _lack(self, declaration: Declaration) -> str:
        """What a model lacks for it, in a few words."""
        for point in self.points:
            if point.startswith("decoder") and "decoder" in declaration.reasons:
                return "no stages inside its language model"
            if point.startswith("decoder") and int(re.sub(r"\D", "", point)) >= declaration.decoder_layers:
                return f"{declaration.decoder_layers} decoder layers"
            if not point.startswith("decoder") and point not in declaration.points:
                return f"no point `{point}`"
        families = {offer.family for offer in declaration.offers}
        lacking = [parse_signal(name) for name in declaration.lacks(frozenset(self.needs))]
        words = [f"`{name}`" if name not in families else f"layer {layer} of `{name}`" for name, layer in lacking]
        return f"no {', '.join(dict.fromkeys(words))}" if words else ""

    def served(self) -> str:
        """Why vLLM cannot serve it with LLaVA-1.5; empty if it can."""
        from transformers import LlavaConfig

        from scope_adapters.serving.geometry import geometry_of
        from scope_adapters.serving.servable import check

        try:
            check(self.pruner, geometry_of(LlavaConfig()))
        except SpecError as error:
            reason = re.sub(r" \(scope-core [\w.]+\)", "", str(error).partition("cannot be served by vLLM: ")[2])
            return re.sub(r"\[\d+\]", "[k]", re.split(r"\. [A-Za-z]|: images", reason)[0])
        return ""

    def differences(self) -> str:
        """Markdown on where it differs from the authors' code; empty if there is none."""
        package, _, path = self.item.differences.partition(":")
        return resources.files(package).joinpath(path).read_text(encoding="utf-8").strip() if path else ""


def methods(registry: Registry) -> list[Method]:
    """Every method of a registry, sorted: recipes that are no variants, or whose method is not there."""
    names = [record.name for record in registry.records("recipe")]
    return [Method(name, registry) for name in names if "@" not in name or name.partition("@")[0] not in names]


def method_of(name: str, registry: Registry) -> Method:
    """The method of a recipe: the recipe without what follows ``@``, if that is registered, else the recipe itself.

    Raises:
        UnknownNameError: there is no such recipe.
    """
    registry.get("recipe", name)
    base = name.partition("@")[0]
    return Method(base if registry.has("recipe", base) else name, registry)

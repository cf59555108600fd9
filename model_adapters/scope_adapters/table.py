"""The table of adapters, with their declarations for the default config of their models, built without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scope_core import Registry, default_registry
from scope_core.adapters import Declaration

HEAD = ("adapter", "models (`model_type`)", "CLS", "interception points", "signals", "geometry", "tested on")


@dataclass(frozen=True)
class Row:
    """One adapter.

    Attributes:
        name: Name of the adapter.
        serves: Its models, in a line.
        model_type: ``config.model_type`` of its models; empty if it does not go by that.
        declaration: Declaration for the default config of that type; None without a type.
        tested: Models that the conformance kit is run on.
    """

    name: str
    serves: str
    model_type: str
    declaration: Declaration | None
    tested: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        """The cells of one line, in the order of `HEAD`."""
        found, kinds = self.declaration, ", ".join(self.tested)
        models = f"{self.serves} (`{self.model_type}`)" if self.model_type else self.serves
        if found is None:
            return (f"`{self.name}`", models, *["as its tower"] * 3, "as the model is configured", kinds)
        families = ["decoder.*" if offer.family.startswith("decoder.") else offer.family for offer in found.offers]
        signals = ", ".join(f"`{family}`" for family in dict.fromkeys(families))
        points = "; ".join(f"`{point}`: {about}" for point, about in found.points.items())
        return (f"`{self.name}`", models, "yes" if found.has_cls else "no", points, signals, found.geometry, kinds)


def rows(registry: Registry | None = None, *, tested: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
    """One row per registered adapter, sorted by name.

    Args:
        registry: Registry of the adapters; by default that of the process.
        tested: Tested models by adapter, for the last column.
    """
    registry = registry or default_registry()
    table = []
    for record in registry.records("adapter"):
        model_type = str(getattr(record.target, "model_type", ""))
        found = declaration(registry, record.name, model_type) if model_type else None
        kinds = tuple((tested or {}).get(record.name, ()))
        table.append(Row(record.name, record.item.summary, model_type, found, kinds))
    return table


def markdown(registry: Registry | None = None, *, tested: Mapping[str, Sequence[str]] | None = None) -> str:
    """`rows` as a Markdown table. CLS and signals are those of each model's default tower."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows(registry, tested=tested))]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def declaration(registry: Registry, name: str, model_type: str) -> Declaration:
    """An adapter's declaration of a model with the default config of a type, built without weights.

    Args:
        registry: Registry of the adapter.
        name: Name of the adapter.
        model_type: A type that transformers knows.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(model_type))
    found: Declaration = registry.build_named("adapter", name).check(model)
    return found

"""`Schedule`: the stages of a pruner, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scope_core.display import card, code_html, facts_html, shortened
from scope_core.parts.base import Part
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.spec_reader import read_spec
from scope_core.pruning.stage import Stage
from scope_core.registry.discovery import default_registry
from scope_core.registry.registry import Registry
from scope_core.structures.layout import Layout, Plan
from scope_core.structures.receipt import Receipt
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


class Schedule:
    """The stages that a spec describes: the first, and those listed under ``then``.

    `label`, `parts`, `needs`, `walk` and the like are those of the first stage. A subclass may override `needs` and
    `prune`: an attached pruner uses these for its first stage.

    Args:
        spec: ``"scope@64"``, the path of a YAML or JSON file, a mapping, or a `PrunerSpec`.
        registry: The registry that names are looked up in; the process' default registry if left out.
        overrides: Top-level options that take precedence, e.g. ``budget=128``.

    Attributes:
        spec: The validated spec.
        registry: The registry that names were looked up in.
        stages: The stages, the first included.

    Raises:
        SpecError: the spec is wrong; lists every error.
    """

    def __init__(
        self, spec: str | Path | Mapping[str, Any] | PrunerSpec, *, registry: Registry | None = None, **overrides: Any
    ) -> None:
        self.registry = registry or default_registry()
        self.spec = read_spec(spec, self.registry, **overrides)
        specs = (self.spec, *(read_spec(stage, self.registry) for stage in self.spec.then))
        points = tuple(stage.at for stage in specs)
        self.stages = tuple(
            Stage(stage, self.registry, number=number, points=points) for number, stage in enumerate(specs)
        )

    def __repr__(self) -> str:
        return shortened(f"{type(self).__name__}({self.label!r})")

    def _repr_html_(self) -> str:
        """What a notebook shows: the complete spec."""
        stages = " -> ".join(stage.spec.at for stage in self.stages)
        facts = facts_html([("prunes at", stages), ("signals", ", ".join(sorted(self.needs)))])
        return card(self.label, code_html(self.spec.to_yaml(self.registry)), facts, aside=type(self).__name__)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as its spec, from which parts are rebuilt; parts themselves need not support pickling."""
        return _rebuilt, (type(self), self.registry, self.spec)

    @property
    def label(self) -> str:
        """A short name for tables: ``scope@64``, or ``scope+alpha=0.5@64`` if it differs from the recipe."""
        return self.stages[0].label

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of the first stage, by option."""
        return self.stages[0].parts

    @property
    def needs(self) -> frozenset[str]:
        """Signals that the parts of the first stage read."""
        return self.stages[0].needs

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype that the first stage computes in; None for the dtype of its input."""
        return self.stages[0].dtype

    @property
    def decoder_layer(self) -> int | None:
        """The language-model layer before which the first stage prunes; None if before the language model."""
        return self.stages[0].decoder_layer

    def walk(self) -> list[Part[Any]]:
        """Every part of the first stage, those inside other parts included."""
        return self.stages[0].walk()

    def plan(self, layout: Layout) -> Plan:
        """Exact counts of all stages before any tensor exists. Pure.

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
        """
        first = before = self.stages[0].plan(layout)
        later: list[Plan] = []
        exact = first.exact
        for stage in self.stages[1:]:
            if any(len({span.image for span in group}) > 1 for group in before.groups):
                break  # what one image keeps depends on the others, so later stages cannot be counted
            before = stage.plan(before.layout.after(before.images))
            exact = exact and before.exact
            later.append(replace(before, exact=exact))
        return replace(first, later=tuple(later)) if later else first

    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """The first stage's selection; see `Stage.prune`."""
        return self.stages[0].prune(tokens, layout)

    def receipt(self, selection: Selection, layout: Layout | None = None, **more: Any) -> Receipt:
        """The receipt of a selection of the first stage; see `Stage.receipt`."""
        return self.stages[0].receipt(selection, layout, **more)


def _rebuilt(kind: type[Schedule], registry: Registry, spec: PrunerSpec) -> Schedule:
    return kind(spec, registry=registry)

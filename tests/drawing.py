"""Random specs, drawn from the annotations of the registered parts' own specs, and what holds of every selection.

Nothing here lists a part.
"""

from __future__ import annotations

import random
import types
import typing
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import annotated_types
import torch
from fakes import least
from pydantic import BaseModel, ValidationError

import scope_core as scope
from scope_core import Layout, Pruner, PrunerSpec, VisualTokens
from scope_core.parts import TokenPartition
from scope_core.registry.specs import Slot, slots_of

REGISTRY = scope.discover()


def reachable() -> set[str]:
    """Kinds of part that a pruner can hold, at any depth."""
    found: set[str] = set()
    open_: list[type[BaseModel]] = [PrunerSpec]
    while open_:
        for slot in slots_of(open_.pop()).values():
            if slot.kind not in found and slot.kind != "adapter":
                found.add(slot.kind)
                open_ += [record.spec for record in REGISTRY.records(slot.kind)]
    return found


@dataclass(frozen=True)
class PartName:
    """One registered part."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.name


BUILT_IN = {
    PartName(kind, record.name)
    for kind in reachable()
    for record in REGISTRY.records(kind)
    if record.origin.distribution == "scope-core"
}
PARTS = sorted(BUILT_IN, key=str)
INSIDE = {"quota", "suppress"}
"""Selectors that divide a group by a partition made from tokens, which a spec itself cannot have."""


def from_tokens(part: PartName | None) -> bool:
    return part is not None and part.kind == "partition" and issubclass(REGISTRY.get(*part.key).target, TokenPartition)


class Drawer:
    """Draws tables for specs; ``wanted``, if given, goes into the first slot of its kind."""

    def __init__(self, source: random.Random, wanted: PartName | None = None) -> None:
        self.random, self.wanted, self.used = source, wanted, wanted is None

    def table(self) -> dict[str, Any]:
        """A table for `PrunerSpec`."""
        slots = {name: slot for name, slot in slots_of(PrunerSpec).items() if slot.kind != "adapter"}
        made: dict[str, Any] = {}
        if from_tokens(self.pending("partition")):
            made["selector"] = self.part("selector", 3, names=INSIDE)
        whole = {p.name for p in PARTS if p.kind == "partition" and not from_tokens(p)}
        if from_tokens(self.pending("partition")):  # an optional slot that was left out
            self.used = self.wanted is None
            made["partition"] = {"name": "image"}
        for name, slot in slots.items():
            if name not in made:
                made[name] = self.part("partition", 3, names=whole) if name == "partition" else self.slot(slot, 3)
        made["order"] = self.random.choice(["raster", "stages", "picks"])
        made["dtype"] = self.random.choice(["float32", "float64", "as_is"])
        return made

    def pending(self, kind: str) -> PartName | None:
        """The wanted part, if it is of this kind and not drawn yet."""
        return None if self.used or self.wanted is None or self.wanted.kind != kind else self.wanted

    def slot(self, slot: Slot, depth: int) -> Any:
        if slot.many:
            least = 0 if slot.kind == "constraint" and self.pending("constraint") is None else 1
            return [self.part(slot.kind, depth) for _ in range(self.random.randint(least, 2))]
        if slot.optional and self.random.random() < 0.3:
            return None
        return self.part(slot.kind, depth)

    def part(self, kind: str, depth: int, names: Collection[str] = ()) -> dict[str, Any]:
        names = [part.name for part in PARTS if part.kind == kind and (not names or part.name in names)]
        if depth <= 0:  # those that hold no part of their own kind, so that it ends
            names = [n for n in names if all(s.kind != kind for s in self._slots(kind, n).values())]
        name = self.random.choice(names)
        if (wanted := self.pending(kind)) is not None:
            name, self.used = wanted.name, True
        spec = REGISTRY.get(kind, name).spec
        slots = slots_of(spec)
        parts = {option: self.slot(slot, depth - 1) for option, slot in slots.items()}
        parts = self.fitting(parts)
        for _ in range(50):  # some options exclude each other, or need each other
            made = {"name": name, **parts, **self.options(spec, parts)}
            try:
                spec.model_validate(made, context={"registry": REGISTRY})
            except ValidationError:
                continue
            return made
        return {**least(REGISTRY, kind, name), **parts}

    def fitting(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Where a coverage function declares that it wants similarities of at least 0, mostly one that is so."""
        if not {"coverage", "similarity"} <= set(parts) or self.random.random() < 0.2:
            return parts
        coverage = REGISTRY.get("coverage", parts["coverage"]["name"]).spec
        spec = coverage.model_validate(parts["coverage"], context={"registry": REGISTRY})
        if not REGISTRY.build("coverage", spec).nonnegative_similarity:
            return parts
        wraps = [  # metrics of others that are never negative
            (record.name, option)
            for record in REGISTRY.records("similarity")
            for option, slot in slots_of(record.spec).items()
            if slot.kind == "similarity" and not slot.many and record.target.bounds[0] == 0
        ]
        name, option = self.random.choice(wraps)
        return {**parts, "similarity": {"name": name, option: parts["similarity"]}}

    def options(self, spec: type[BaseModel], parts: dict[str, Any]) -> dict[str, Any]:
        """Some of a spec's options; one value for each part where it holds a list of parts and a tuple of numbers."""
        lists = [held for held in parts.values() if isinstance(held, list)]
        made = {}
        for option, field in spec.model_fields.items():
            if option == "name" or option in parts or not (field.is_required() or self.random.random() < 0.5):
                continue
            if get_origin(field.annotation) is tuple and lists:
                value: Any = [self.value(get_args(field.annotation)[0]) for _ in lists[0]]
            else:
                value = self.value(field.annotation, field.metadata)
            if value is not None:
                made[option] = value
        return made

    def _slots(self, kind: str, name: str) -> dict[str, Slot]:
        return slots_of(REGISTRY.get(kind, name).spec)

    def value(self, annotation: Any, metadata: typing.Sequence[Any] = ()) -> Any:
        """A value of the annotated type within its bounds; None leaves the option out."""
        origin, inner = get_origin(annotation), get_args(annotation)
        if origin is typing.Annotated:
            return self.value(inner[0], inner[1:])
        if origin in (typing.Union, types.UnionType):
            return self.value(self.random.choice([a for a in inner if a is not type(None)]), metadata)
        if origin is Literal:
            return self.random.choice(inner)
        if annotation is bool:
            return self.random.random() < 0.5
        if origin is tuple:
            return self.several(annotation)
        low, high = bounds(metadata)
        if annotation is float:
            return self.number(low, high)
        if annotation is int:
            return self.whole(low, high)
        return None  # names of signals and the like keep their default

    def several(self, annotation: Any) -> Any:
        """A list for a tuple of the annotated type; None leaves the option out."""
        inner = get_args(annotation)[0]
        return [self.value(inner)] if get_origin(inner) is not tuple else None

    def number(self, low: float, high: float) -> float:
        """A number within bounds."""
        return self.random.uniform(max(low, 0.3), min(high, 3.0))

    def whole(self, low: float, high: float) -> int:
        """A whole number within bounds."""
        return self.random.randint(max(int(low), -2), min(int(high), 4))


def bounds(metadata: typing.Sequence[Any]) -> tuple[float, float]:
    low, high = -10.0, 10.0
    flat = [m for item in metadata for m in getattr(item, "metadata", [item])]
    for item in flat:
        if isinstance(item, annotated_types.Ge):
            low = max(low, item.ge)
        elif isinstance(item, annotated_types.Gt):
            low = max(low, item.gt)
        elif isinstance(item, annotated_types.Le):
            high = min(high, item.le)
        elif isinstance(item, annotated_types.Lt):
            high = min(high, item.lt * 0.99)
    return low, high


def check(selection: scope.Selection, pruner: Pruner, plan: scope.Plan, tokens: VisualTokens, layout: Layout) -> None:
    """What holds of every selection, whatever made it."""
    told, (batch, count, width) = pruner.spec.to_yaml(), tokens.shape
    added = any(sum(pruner.parts["merger"].extra(20, kept)) for kept in plan.counts)
    owners = [{span.image for span in group} for group in plan.groups]
    rows = list(selection.row_counts)
    assert sum(rows) == plan.total if plan.exact else sum(rows) <= plan.total, told
    if all(len(images) == 1 for images in owners):
        assert all(row == kept if plan.exact else row <= kept for row, kept in zip(rows, plan.images, strict=True)), (
            told
        )
    assert [int(row) for row in (selection.picks >= 0).sum(1)] == list(selection.counts), told
    mask = selection.mask
    assert mask.sum(1).tolist() == list(selection.counts), told  # distinct
    assert not (mask & ~tokens.valid).any(), told
    assert not (tokens.required & tokens.valid & ~mask).any(), told
    for column in (selection.gains, selection.scores):
        assert column.shape == selection.picks.shape, told
        assert torch.isfinite(column[selection.picks >= 0]).all(), told
        assert column[selection.picks < 0].isnan().all(), told
    for row, kept, arranged in zip(selection.picks, selection.kept, selection.arranged, strict=True):
        real = [token for token in kept.tolist() if token >= 0]
        assert real == sorted(real) == sorted(token for token in row.tolist() if token >= 0), told
        assert sorted(arranged.tolist()) == sorted(kept.tolist()), told
    if pruner.spec.order == "raster":
        assert selection.arranged.equal(selection.kept), told
    if selection.weights is not None:
        assert selection.weights.shape == (batch, max(rows), count), told
        assert torch.isfinite(selection.weights).all(), told
        taken = selection.weights.abs().sum(1) * ~tokens.valid
        assert not taken.any(), told  # padding is not mixed in
        assert added or rows == list(selection.counts), told
    cls = next((tokens.signals[name] for name in tokens.signals if name.startswith("vision.cls[")), None)
    merged = selection.merge(tokens.features.masked_fill(~tokens.valid[:, :, None], 0), cls)
    assert merged.shape == (batch, max(rows), width), told
    assert torch.isfinite(merged).all(), told
    again = pruner.prune(replace(tokens, features=tokens.features.clone()), layout)
    assert again.picks.equal(selection.picks), told
    assert again.rows.equal(selection.rows), told

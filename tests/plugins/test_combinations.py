"""Random combinations of all registered parts: whatever is valid runs, and what comes out is a selection.

Nothing here lists a part. The parts come from the registry, their options from their specs, the signals from what they
declare to need; every part has to be called, and to come through, in several combinations.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import inspect
import random
import types
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
import torch
from fakes import least
from pydantic import BaseModel, ValidationError

import scope_core as scope
from scope_core import Layout, Pruner, PrunerSpec, VisualTokens
from scope_core.registry.entries import import_target
from scope_core.registry.kinds import KINDS
from scope_core.registry.specs import Slot, slots_of
from scope_core.structures.signals import FAMILIES, parse_signal

REGISTRY = scope.discover()
EACH = 5
"""Combinations that every part has to be called in."""

SIZES, TILES, GRID, WIDTH = (20, 12, 4), ((8, 12), (12,), (4,)), (4, 5), 8


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


BUILT_IN = {
    PartName(kind, record.name)
    for kind in reachable()
    for record in REGISTRY.records(kind)
    if record.origin.distribution == "scope-core"
}
PARTS = sorted(BUILT_IN, key=str)


# ----------------------------------------------------------------------------------------------------------
# Random specs, from the specs' own annotations
# ----------------------------------------------------------------------------------------------------------


class Drawer:
    """Draws tables for specs; ``wanted`` goes into the first slot of its kind."""

    def __init__(self, seed: int, wanted: PartName) -> None:
        self.random, self.wanted, self.used = random.Random(seed), wanted, False

    def table(self) -> dict[str, Any]:
        """A table for `PrunerSpec`."""
        made = {name: self.slot(slot, 3) for name, slot in slots_of(PrunerSpec).items() if slot.kind != "adapter"}
        made["order"] = self.random.choice(["raster", "stages", "picks"])
        made["dtype"] = self.random.choice(["float32", "float64", "as_is"])
        return made

    def slot(self, slot: Slot, depth: int) -> Any:
        if slot.many:
            least = 0 if slot.kind == "constraint" and self.wanted.kind != "constraint" else 1
            return [self.part(slot.kind, depth) for _ in range(self.random.randint(least, 2))]
        if slot.optional and self.random.random() < 0.3:
            return None
        return self.part(slot.kind, depth)

    def part(self, kind: str, depth: int) -> dict[str, Any]:
        names = [part.name for part in PARTS if part.kind == kind]
        if depth <= 0:  # those that hold no part of their own kind, so that it ends
            names = [n for n in names if all(s.kind != kind for s in self._slots(kind, n).values())]
        name = self.random.choice(names)
        if kind == self.wanted.kind and not self.used:
            name, self.used = self.wanted.name, True
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
            return [self.value(inner[0])] if get_origin(inner[0]) is not tuple else None
        low, high = bounds(metadata)
        if annotation is float:
            return self.random.uniform(max(low, 0.3), min(high, 3.0))
        if annotation is int:
            return self.random.randint(max(int(low), -2), min(int(high), 4))
        return None  # names of signals and the like keep their default


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


# ----------------------------------------------------------------------------------------------------------
# Small ragged tokens with every signal
# ----------------------------------------------------------------------------------------------------------


def shape_of(name: str) -> tuple[int, ...]:
    sizes = {"B": len(SIZES), "N": max(SIZES), "H": 2, "M": 5, "T": 2, "C": 4, "D": WIDTH, "F": 24, "L": 40}
    return tuple(sizes[axis] for axis in FAMILIES[parse_signal(name)[0]].split())


def case(seed: int, needs: frozenset[str], layout: Layout) -> VisualTokens:
    """Three images of different sizes, padded; padding holds large numbers."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.arange(max(SIZES))[None] < torch.tensor(SIZES)[:, None]

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    features = drawn(len(SIZES), max(SIZES), WIDTH).masked_fill(~valid[:, :, None], 7e3)
    signals = {}
    for name in sorted(needs):
        tensor = drawn(*shape_of(name))
        if "attention" in name:
            tensor = tensor.softmax(-1)
        signals[name] = tensor.tanh() if "similarity" in name else tensor
    required = torch.zeros_like(valid)
    required[0, 7] = seed % 3 == 0
    index = torch.arange(max(SIZES)).expand(valid.shape)
    tile = torch.zeros_like(index)
    tile[0, TILES[0][0] :] = 1
    first = torch.tensor([[0, TILES[0][0]], [0, 0], [0, 0]]).gather(1, tile)
    row, col = (index - first) // GRID[0], (index - first) % GRID[0]
    return VisualTokens.of(features, valid=valid, required=required, row=row, col=col, tile=tile, signals=signals)


def excused(error: scope.ScopeError, pruner: Pruner, tokens: VisualTokens) -> bool:
    """Whether the combination declares the very thing that the error is about, so that refusing it is right."""
    parts, text = pruner.walk(), str(error)
    kinds = {kind: [part for part in parts if part.kind == kind] for kind in reachable()}
    if isinstance(error, scope.BudgetError):
        adds = any(sum(merger.extra(20, 10)) for merger in kinds["merger"])
        must = bool(tokens.required.any()) or bool(kinds["constraint"])
        return adds or must
    if isinstance(error, scope.SpecError):
        if any(sum(merger.extra(20, 10)) for merger in kinds["merger"]) and "row(s)" in text:
            return True
        if "at least 0" in text and any(not part.nonnegative for part in kinds["saliency"]):
            return True
        if "path 'blocks' is not possible here" in text:
            return any(getattr(part.spec, "path", None) == "blocks" for part in kinds["optimizer"])
        if "path 'compiled' is not possible here" in text:
            return any(getattr(part.spec, "path", None) == "compiled" for part in kinds["optimizer"])
        if (
            "is not a chain" in text and pruner.parts["selector"].spec.name != "chain"
        ):  # which alone tells its stages apart
            return any(getattr(part.spec, "stage", None) for part in kinds["merger"])
        picky = [part for part in kinds["coverage"] if "is defined for" in text and str(part) in text]
        wide = [m for m in kinds["similarity"] if m.bounds[0] is None or m.bounds[0] < 0 or not m.symmetric]
        return bool(picky and wide) or any(not part.nonnegative for part in kinds["saliency"] if picky)
    if isinstance(error, scope.PluginOutputError):  # CLS of several layers at once, from mergers inside each other
        return "uses_cls" in text and len({n for m in kinds["merger"] for n in m.needs if "vision.cls[" in n}) > 1
    if isinstance(error, scope.TokensError):
        ranks = "at least 0" in text or "reverse the order of tokens" in text
        return ranks and any(not part.nonnegative for part in kinds["saliency"])
    return False


# ----------------------------------------------------------------------------------------------------------
# Which parts were really called
# ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calls() -> Iterator[Counter[PartName]]:
    """Counts calls of the methods that parts' interfaces ask for, while this module runs."""
    counted: Counter[PartName] = Counter()
    patch = pytest.MonkeyPatch()
    bases = {kind.name: import_target(kind.base, kind.name) for kind in KINDS if kind.name in reachable()}
    for part in PARTS:
        target, base = REGISTRY.get(part.kind, part.name).target, bases[part.kind]
        for method in base.__abstractmethods__ or {name for name in vars(base) if name.startswith("must_")}:
            patch.setattr(target, method, counting(inspect.getattr_static(target, method), part, counted))
    yield counted
    patch.undo()


def counting(function: Any, part: PartName, counted: Counter[PartName]) -> Any:
    def wrapper(*args: Any, **named: Any) -> Any:
        result = function(*args, **named)
        counted[part] += 1
        return result

    return wrapper


# ----------------------------------------------------------------------------------------------------------
# The test
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_works_beside_any_other(part: PartName, calls: Counter[PartName]) -> None:
    came_through, refused = 0, Counter[str]()
    for attempt in range(40 * EACH):
        drawer = Drawer(seed_of(part) + attempt, part)
        table = drawer.table()
        if not drawer.used:
            continue
        pruner = Pruner(table, registry=REGISTRY)
        layout = Layout.of(TILES, prompts=[0, 0, 1])
        tokens, before = case(attempt, pruner.needs, layout), calls[part]
        plan, selection, error = pruned(pruner, tokens, layout)
        if plan is None and isinstance(error, scope.BudgetError):  # these images cannot meet that budget
            refused[f"plan: {str(error)[:80]}"] += 1
            continue
        if plan is None or selection is None:
            assert excused(error, pruner, tokens), f"{error}\n{pruner.spec.to_yaml()}"
            refused[f"{type(error).__name__}: {str(error)[:80]}"] += 1
            continue
        check(selection, pruner, plan, tokens, layout)
        if part.kind == "position":
            check_positions(pruner.parts["positions"])
        came_through += calls[part] > before
        if came_through == EACH:
            return
    pytest.fail(f"{part} was called in {came_through} of {EACH} combinations; refused: {refused.most_common(5)}")


def pruned(
    pruner: Pruner, tokens: VisualTokens, layout: Layout
) -> tuple[scope.Plan | None, scope.Selection | None, Any]:
    """Plan and selection, or the library's own error; any other exception is a bug."""
    plan = None
    try:
        plan = pruner.plan(layout)
        return plan, pruner.prune(tokens, layout), None
    except scope.ScopeError as error:
        return plan, None, error


def seed_of(part: PartName) -> int:
    """A seed that depends on the name alone (Python's hash does not)."""
    return int.from_bytes(str(part).encode()[-6:], "big") * 1000


def check(selection: scope.Selection, pruner: Pruner, plan: scope.Plan, tokens: VisualTokens, layout: Layout) -> None:
    """What holds of every selection, whatever made it."""
    told = pruner.spec.to_yaml()
    added = any(sum(pruner.parts["merger"].extra(20, count)) for count in plan.counts)
    owners = [{span.image for span in group} for group in plan.groups]
    rows = list(selection.row_counts)
    assert sum(rows) == plan.total if plan.exact else sum(rows) <= plan.total, told
    if all(len(images) == 1 for images in owners):
        assert all(
            row == count if plan.exact else row <= count for row, count in zip(rows, plan.images, strict=True)
        ), told
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
        assert selection.weights.shape == (len(SIZES), max(rows), max(SIZES)), told
        assert torch.isfinite(selection.weights).all(), told
        taken = selection.weights.abs().sum(1) * ~tokens.valid
        assert not taken.any(), told  # padding is not mixed in
        assert added or rows == list(selection.counts), told
    cls = next((tokens.signals[name] for name in tokens.signals if name.startswith("vision.cls[")), None)
    merged = selection.merge(tokens.features.masked_fill(~tokens.valid[:, :, None], 0), cls)
    assert merged.shape == (len(SIZES), max(rows), WIDTH), told
    assert torch.isfinite(merged).all(), told
    again = pruner.prune(replace(tokens, features=tokens.features.clone()), layout)
    assert again.picks.equal(selection.picks), told
    assert again.rows.equal(selection.rows), told


def check_positions(policy: Any) -> None:
    """Position ids of a prompt of six, of which four remain, and of one that is padded."""
    full = torch.arange(6).expand(2, 6)
    index, kept = torch.tensor([[0, 2, 3, 5], [1, 2, 4, 0]]), torch.tensor([[True] * 4, [True] * 3 + [False]])
    ids = policy.position_ids(full, index, kept)
    assert ids is None or (ids.shape == (2, 4) and bool((ids[0].diff() > 0).all()))

"""Random combinations of all registered parts: whatever is valid runs, and what comes out is a selection.

Nothing here lists a part. The parts come from the registry, their options from their specs, the signals from what they
declare to need; every part has to be called, and to come through, in several combinations.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

import inspect
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from drawing import PARTS, REGISTRY, Drawer, PartName, check, reachable

import scope_core as scope
from scope_core import Layout, Pruner, VisualTokens
from scope_core.registry.kinds import KINDS
from scope_core.registry.targets import import_target
from scope_core.structures.signals import FAMILIES, parse_signal

EACH = 5
"""Combinations that every part has to be called in."""

SIZES, TILES, GRID, WIDTH = (20, 12, 4), ((8, 12), (12,), (4,)), (4, 5), 8


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
    if "vision.canvas" in signals:  # tile 0 is the overview
        signals["vision.canvas"].zero_()
        beyond = (tile > 0) & valid
        places = torch.stack([row[beyond], col[beyond]], 1)
        signals["vision.canvas"][beyond] = torch.cat([places, (places.amax(0) + 1).expand_as(places)], 1).float()
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
        if "CLS tokens of several layers" in text:
            return len({n for m in kinds["merger"] for n in m.needs if "vision.cls[" in n}) > 1
        if any(sum(merger.extra(20, 10)) for merger in kinds["merger"]) and "row(s)" in text:
            return True
        if "at least 0" in text and any(not part.nonnegative for part in kinds["saliency"]):
            return True
        if "path 'blocks' is not possible here" in text:
            return any(getattr(part.spec, "path", None) == "blocks" for part in kinds["optimizer"])
        if "path 'compiled' is not possible here" in text:
            return any(getattr(part.spec, "path", None) == "compiled" for part in kinds["optimizer"])
        if "the selector has no steps" in text or "the selector is not a chain" in text:
            return pruner.parts["selector"].spec.name != "chain" and any(
                getattr(part.spec, "stage", None) is not None for part in kinds["merger"]
            )
        picky = [part for part in kinds["coverage"] if "is defined for" in text and str(part) in text]
        wide = [m for m in kinds["similarity"] if m.bounds[0] is None or m.bounds[0] < 0 or not m.symmetric]
        return bool(picky and wide) or any(not part.nonnegative for part in kinds["saliency"] if picky)
    if isinstance(error, scope.TokensError):
        if "head weights, but the model has" in text:
            return any("weights" in type(part.spec).model_fields for part in kinds["saliency"])
        if "similarities of at most" in text:  # too low for a threshold of the coverage function
            return any(part.spec.name == "theta_cover" for part in kinds["coverage"])
        if "not its whole grid" in text:  # of which an earlier step or a constraint took some
            return any(part.spec.name == "spectral_change" for part in kinds["saliency"])
        if "has no overview with a grid" in text:  # a chain or a partition took it away
            return any(part.spec.name.startswith("overview_") for part in kinds["saliency"])
        if "more or less than their share" in text:  # too few iterations for the drawn tolerance
            return any(part.spec.name == "transport" for part in kinds["saliency"])
        ranks = any(word in text for word in ("at least 0", "that is not negative", "reverse the order of tokens"))
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
        methods = base.__abstractmethods__ or {name for name in vars(base) if name.startswith("must_")}
        for method in {*methods, "label"} if part.kind == "partition" else methods:
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
    for attempt in range(150 * EACH):
        drawer = Drawer(random.Random(seed_of(part) + attempt), part)
        table = drawer.table()
        if not drawer.used:
            continue
        try:
            pruner = Pruner(table, registry=REGISTRY)
        except scope.SpecError as error:  # `portion` with a budget that does not adapt
            if "same number of tokens of every image" not in str(error):
                raise
            refused[str(error)[:80]] += 1
            continue
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


def check_positions(policy: Any) -> None:
    """Position ids of a prompt of six, of which four remain, and of one that is padded."""
    full = torch.arange(6).expand(2, 6)
    index, kept = torch.tensor([[0, 2, 3, 5], [1, 2, 4, 0]]), torch.tensor([[True] * 4, [True] * 3 + [False]])
    ids = policy.position_ids(full, index, kept)
    assert ids is None or (ids.shape == (2, 4) and bool((ids[0].diff() > 0).all()))

"""Methods of a benchmark at several budgets, and their upper and lower bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scope_bench.accuracy.budgets import OWN, Keep
from scope_bench.accuracy.budgets import tokens as count
from scope_core import Layout, Pruner, Registry, ScopeError, Selection, TaskError, VisualTokens
from scope_core.cli.methods import Method as Entry
from scope_core.cli.methods import naming, read_methods
from scope_core.commands import note

FULL, ORACLE, SHUFFLED, BLIND = "all tokens", "label oracle", "shuffled images", "blind"


@dataclass(frozen=True, eq=False)
class Method:
    """A method at one budget, or a bound: one row of the report.

    Attributes:
        name: Name of the method, without its budget.
        keep: Budget: tokens per image, a share, or the spec's own; None if all tokens are kept, or none.
        pruner: The pruner; None if the model gets no image.
        role: ``"spec"``, ``"control"`` or ``"bound"``.
        given: The spec as typed; empty for bounds.
    """

    name: str
    keep: Keep | None
    pruner: Pruner | None
    role: str = "spec"
    given: str = ""

    @property
    def label(self) -> str:
        """Name and budget."""
        return self.name if self.keep is None else f"{self.name}@{self.keep}"

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that replies depend on, as plain data; the name of a spec's file is not among them."""
        if self.pruner is None or self.role == "bound":
            return {"name": self.label, "spec": None}
        return {"name": self.pruner.label, "spec": self.pruner.spec.to_dict(self.pruner.registry)}


@dataclass(frozen=True, eq=False)
class Skipped:
    """A method that was not measured at a budget, and why."""

    method: Method
    why: str


class KeepsAll(Pruner):
    """Keeps every token: the upper reference."""

    def __init__(self, registry: Registry) -> None:
        super().__init__({"saliency": "uniform", "budget": 1}, registry=registry)  # parts that read no signal

    @property
    def needs(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """All valid tokens in raster order."""
        index = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])
        return selected(tokens, index.masked_fill(~tokens.valid, tokens.shape[1]).sort(1).values)


class Oracle(KeepsAll):
    """Keeps the patches of known objects first, from each object in turn, those it covers most.

    The rest of the budget is spread evenly over the other tokens.

    Args:
        keep: Tokens to keep, a number or a share.
        shares: (objects, N) share of each token that an object covers.
        registry: The registry that names are looked up in.
    """

    def __init__(self, keep: Keep, shares: Tensor, registry: Registry) -> None:
        super().__init__(registry)
        self.keep, self.shares = keep, shares

    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """The selection from one image's tokens."""
        keep = count(self.keep, self.shares.shape[1])
        picks = oracle_picks(self.shares, torch.stack([tokens.row[0], tokens.col[0]], 1).cpu(), keep)
        return selected(tokens, torch.tensor([picks], device=tokens.device))


def oracle_picks(shares: Tensor, cells: Tensor, keep: int) -> list[int]:
    """The oracle's picks: objects take turns, the smallest first.

    Of each object, patches that it covers at least half come first, from its middle outwards, then the others.

    Args:
        shares: (objects, N) share of each patch that an object covers, in [0, 1].
        cells: (N, 2) row and column of each patch.
        keep: Number of picks, at most N.

    Returns:
        ``keep`` different tokens; ties go to the lowest index.
    """
    orders = []
    for share in shares[shares.sum(1).argsort(stable=True)].double():
        middle = (share[:, None] * cells).sum(0) / share.sum().clamp(min=1e-9)
        distance = (cells - middle).square().sum(1)
        half = torch.where(share >= 0.5, -distance, share - 1 - distance.max())
        orders.append([token for token in half.argsort(descending=True, stable=True).tolist() if share[token] > 0])
    turns = [order[turn] for turn in range(max(map(len, orders), default=0)) for order in orders if turn < len(order)]
    picks = list(dict.fromkeys(turns))[:keep]
    rest = sorted(set(range(shares.shape[1])) - set(picks))
    more = keep - len(picks)
    return picks + [rest[(2 * step + 1) * len(rest) // (2 * more)] for step in range(more)]


def selected(tokens: VisualTokens, picks: Tensor) -> Selection:
    """A selection of given picks (B, K); indices beyond the tokens are padding."""
    undefined = torch.full(picks.shape, torch.nan, device=picks.device)
    return Selection(
        picks=picks.masked_fill(picks >= tokens.shape[1], -1), gains=undefined, scores=undefined, tokens=tokens
    )


def methods_of(specs: Sequence[str], keeps: Sequence[Keep], registry: Registry) -> list[Method]:
    """The methods of ``specs`` at each budget; no model is needed.

    Args:
        specs: See `scope_core.cli.methods`.
        keeps: Budgets, see `scope_bench.accuracy.budgets`.
        registry: The registry that names are looked up in.

    Raises:
        ScopeError: a spec is wrong; the message names it.
        TaskError: two specs have the same name.
    """
    found: dict[str, list[Method]] = {}
    names: dict[tuple[str, Keep], str] = {}
    notes: dict[str, None] = {}
    for keep in keeps:
        read = read_methods(specs, registry, keep=None if keep == OWN else keep)
        notes |= dict.fromkeys(read.notes)
        plain = [_name(entry) for entry in read.run]
        for entry, name in zip(read.run, plain, strict=True):
            if keep == OWN and plain.count(name) > 1 and not entry.file:
                name = entry.label  # `scope@64,scope@32` are two methods if each keeps its own budget
            if names.setdefault((name, keep), entry.given) != entry.given:
                raise TaskError(
                    f"specs '{names[name, keep]}' and '{entry.given}' would both be called '{name}'; rename one file"
                )
            role = "control" if entry.control else "spec"
            found.setdefault(name, []).append(Method(name, keep, entry.pruner, role, entry.given))
    for text in notes:
        note(text)
    return [method for same in found.values() for method in same]


def _name(entry: Entry) -> str:
    """The name of a method without its budget, or that of its file."""
    return Path(entry.file).stem if entry.file else entry.pruner.label.rpartition("@")[0]


def runnable(methods: Sequence[Method], model: Any) -> tuple[list[Method], list[Skipped]]:
    """The methods that can run on the model, and the others with the reason, before any work is done.

    Raises:
        ScopeError: none can; the message begins with the name of the first.
    """
    left: list[Method] = []
    skipped: list[Skipped] = []
    first: ScopeError | None = None
    for method in methods:
        try:
            with naming(method.given or method.name):
                if method.pruner is not None:
                    method.pruner.check(model)
        except ScopeError as error:
            first = first or error
            skipped.append(Skipped(method, str(error)))
        else:
            left.append(method)
    if first is not None and not left:
        raise first
    return left, skipped

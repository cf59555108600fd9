"""Methods of a benchmark at several budgets, and their upper and lower bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scope_core import Layout, Pruner, Registry, Selection, TaskError, VisualTokens
from scope_core.cli.methods import naming, read_methods
from scope_core.commands import note

FULL, ORACLE, SHUFFLED, BLIND = "all tokens", "label oracle", "shuffled images", "blind"


@dataclass(frozen=True, eq=False)
class Method:
    """A method at one budget, or a bound: one row of the report.

    Attributes:
        name: Name of the method, without its budget.
        keep: Tokens per image; None if all tokens are kept, or none.
        pruner: The pruner; None if the model gets no image.
        role: ``"spec"``, ``"control"`` or ``"bound"``.
        given: The spec as typed; empty for bounds.
    """

    name: str
    keep: int | None
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


class KeepsAll(Pruner):
    """Keeps every token: the upper reference."""

    def __init__(self, registry: Registry) -> None:
        super().__init__({"budget": 1}, registry=registry)

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
        keep: Tokens to keep.
        shares: (objects, N) share of each token that an object covers.
        registry: The registry that names are looked up in.
    """

    def __init__(self, keep: int, shares: Tensor, registry: Registry) -> None:
        super().__init__(registry)
        self.keep, self.shares = keep, shares

    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """The selection from one image's tokens."""
        picks = oracle_picks(self.shares, torch.stack([tokens.row[0], tokens.col[0]], 1).cpu(), self.keep)
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


def methods_of(specs: Sequence[str], keeps: Sequence[int], registry: Registry) -> list[Method]:
    """The methods of ``specs`` at each budget; no model is needed.

    Args:
        specs: See `scope_core.cli.methods`.
        keeps: Tokens per image.
        registry: The registry that names are looked up in.

    Raises:
        ScopeError: a spec is wrong; the message names it.
        TaskError: two specs have the same name.
    """
    found: list[Method] = []
    names: dict[str, str] = {}
    read = [read_methods(specs, registry, keep=keep) for keep in keeps]
    for text in read[0].notes:
        note(text)
    for group in zip(*(methods.run for methods in read), strict=True):
        for entry, keep in zip(group, keeps, strict=True):
            name = Path(entry.file).stem if entry.file else entry.pruner.label.rpartition("@")[0]
            if names.setdefault(name, entry.given) != entry.given:
                raise TaskError(
                    f"specs '{names[name]}' and '{entry.given}' would both be called '{name}'; rename one file"
                )
            found.append(Method(name, keep, entry.pruner, "control" if entry.control else "spec", entry.given))
    return found


def check(methods: Sequence[Method], model: Any) -> None:
    """Check that all methods can run on the model, before any work is done.

    Raises:
        ScopeError: a method cannot run; the message begins with its name.
    """
    for method in methods:
        if method.pruner is not None:
            with naming(method.given or method.name):
                method.pruner.check(model)

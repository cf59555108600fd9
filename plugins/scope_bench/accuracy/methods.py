"""Methods of a benchmark at several budgets, and what bounds them from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core import Pruner, Selection, TaskError
from scope_core.cli.methods import naming, read_methods
from scope_core.commands import note

if TYPE_CHECKING:
    from scope_core import Layout, Registry, VisualTokens

FULL, ORACLE, SHUFFLED, BLIND = "all tokens", "label oracle", "shuffled images", "blind"


@dataclass(frozen=True, eq=False)
class Method:
    """A method at one budget, or a bound: one row of the report.

    Attributes:
        name: Of the method, without its budget.
        keep: Tokens per image; None where all are kept, or none.
        pruner: What selects; None where nothing is seen.
        role: ``"spec"``, ``"control"`` or ``"bound"``.
        given: As it was typed; empty for bounds.
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
        """What its replies depend on, as plain data. A spec is the same whatever file it stands in."""
        if self.pruner is None or self.role == "bound":
            return {"name": self.label, "spec": None}
        return {"name": self.pruner.label, "spec": self.pruner.spec.to_dict(self.pruner.registry)}


class KeepsAll(Pruner):
    """Keeps every token: what the others are measured against."""

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
    """Knows where the objects are, and keeps their patches first: from each in turn, those it covers most.

    What is left of the budget is spread evenly over the others.

    Args:
        keep: Tokens to keep.
        shares: (objects, N) share of each token that an object covers.
        registry: Where names are looked up.
    """

    def __init__(self, keep: int, shares: Tensor, registry: Registry) -> None:
        super().__init__(registry)
        self.keep, self.shares = keep, shares

    def prune(self, tokens: VisualTokens, layout: Layout | None = None) -> Selection:
        """One image's tokens."""
        picks = oracle_picks(self.shares, torch.stack([tokens.row[0], tokens.col[0]], 1).cpu(), self.keep)
        return selected(tokens, torch.tensor([picks], device=tokens.device))


def oracle_picks(shares: Tensor, cells: Tensor, keep: int) -> list[int]:
    """The oracle's picks: objects take turns, the smallest first.

    An object's patches that it covers at least half come first, from its middle outwards, then those it covers less.

    Args:
        shares: (objects, N) share of each patch that an object covers, in [0, 1].
        cells: (N, 2) row and column of each patch.
        keep: How many, at most N.

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
    """A selection of given picks (B, K); indices beyond the tokens stand for nothing."""
    nothing = torch.full(picks.shape, torch.nan, device=picks.device)
    return Selection(
        picks=picks.masked_fill(picks >= tokens.shape[1], -1), gains=nothing, scores=nothing, tokens=tokens
    )


def methods_of(specs: Sequence[str], keeps: Sequence[int], registry: Registry) -> list[Method]:
    """The methods of ``specs`` at each budget; no model is needed.

    Args:
        specs: See `scope_core.cli.methods`.
        keeps: Tokens per image.
        registry: Where names are looked up.

    Raises:
        ScopeError: a spec is wrong; names it.
        TaskError: two specs have one name.
    """
    found: list[Method] = []
    names: dict[str, str] = {}
    read = [read_methods(specs, registry, keep=keep) for keep in keeps]
    for text in read[0].notes:
        note(text)
    for group in zip(*(methods.run for methods in read), strict=True):
        for one, keep in zip(group, keeps, strict=True):
            name = Path(one.file).stem if one.file else one.pruner.label.rpartition("@")[0]
            if names.setdefault(name, one.given) != one.given:
                raise TaskError(
                    f"specs '{names[name]}' and '{one.given}' would both be called '{name}'; rename one file"
                )
            found.append(Method(name, keep, one.pruner, "control" if one.control else "spec", one.given))
    return found


def check(methods: Sequence[Method], model: Any) -> None:
    """Check methods against the model before any work is done.

    Raises:
        ScopeError: one cannot run on it; the message begins with it.
    """
    for one in methods:
        if one.pruner is not None:
            with naming(one.given or one.name):
                one.pruner.check(model)

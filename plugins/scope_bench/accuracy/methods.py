"""Who takes part in a benchmark: pruners at several budgets, and what bounds them from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core.errors import ScopeError, TaskError
from scope_core.pruning.pruner import Pruner
from scope_core.pruning.spec_reader import read_spec
from scope_core.structures.selection import Selection

if TYPE_CHECKING:
    from scope_core.registry.registry import Registry
    from scope_core.structures.layout import Layout
    from scope_core.structures.tokens import VisualTokens

FULL, ORACLE, SHUFFLED, BLIND = "all tokens", "label oracle", "shuffled images", "blind"


@dataclass(frozen=True, eq=False)
class Contestant:
    """One row of the report at one budget.

    Attributes:
        name: Of the strategy, without its budget.
        keep: Tokens per image; None where all are kept, or none.
        pruner: What selects; None where nothing is seen.
        role: ``"spec"``, ``"control"`` or ``"bound"``.
    """

    name: str
    keep: int | None
    pruner: Pruner | None
    role: str = "spec"

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


def enter(specs: Sequence[str], keeps: Sequence[int], registry: Registry, model: Any) -> list[Contestant]:
    """The contestants of ``specs`` at each budget, checked against the model before any work is done.

    Args:
        specs: Recipes or spec files.
        keeps: Tokens per image.
        registry: Where names are looked up.
        model: What they will run on.

    Raises:
        ScopeError: a spec is wrong, or cannot run on the model; the message begins with the spec.
        TaskError: two specs have one name.
    """
    entered: list[Contestant] = []
    names: dict[str, str] = {}
    for text in specs:
        for keep in keeps:
            try:
                pruner = Pruner(read_spec(text, registry, budget=keep), registry=registry)
                pruner.check(model)
            except ScopeError as error:
                raise type(error)(f"{text}: {error}") from error
            is_file = text.endswith((".yaml", ".yml", ".json"))
            name = Path(text).stem if is_file else pruner.label.rpartition("@")[0]
            if names.setdefault(name, text) != text:
                raise TaskError(f"specs '{names[name]}' and '{text}' would both be called '{name}'; rename one file")
            control = not is_file and registry.get("recipe", pruner.spec.recipe or text).item.control
            entered.append(Contestant(name, keep, pruner, "control" if control else "spec"))
    return entered

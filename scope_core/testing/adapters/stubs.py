"""Parts that need no signal and depend on counts alone, so that every fault is the adapter's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import torch

from scope_core.errors import ScopeError, TokensError
from scope_core.parts.budget import Budget
from scope_core.parts.selector import Selector
from scope_core.registry.entries import Entry
from scope_core.registry.hookspecs import hookimpl
from scope_core.registry.registry import Registry
from scope_core.registry.specs import ComponentSpec
from scope_core.structures.layout import Group, Layout
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


class OnPurpose(ScopeError):  # noqa: N818
    """Raised by the kit, to find what an error leaves behind."""


class ShuffledSpec(ComponentSpec):
    """Tokens in an order that depends on their number alone."""

    name: Literal["testing.shuffled"] = "testing.shuffled"
    reads: tuple[str, ...] = ()
    """Signals to read and check."""
    fails: bool = False
    """Raise instead of selecting."""


class Shuffled(Selector[ShuffledSpec]):
    """The same picks for the same count, whatever the images show."""

    @property
    def needs(self) -> frozenset[str]:
        """As the spec says."""
        return frozenset(self.spec.reads)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """``keep[b]`` tokens of each group; required ones first."""
        if self.spec.fails:
            raise OnPurpose("a part failed on purpose")
        for name in self.spec.reads:
            if not bool(torch.isfinite(tokens.signal(name)).all()):
                raise TokensError(f"signal '{name}' holds numbers that are not finite")
        rows = []
        for group, count in enumerate(keep):
            places = tokens.valid[group].nonzero().flatten()
            order = torch.randperm(len(places), generator=torch.Generator().manual_seed(len(places)))
            places = places[order.to(places.device)]
            first = (~tokens.required[group, places]).int().argsort(stable=True)
            rows.append(places[first][:count])
        picks = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        zeros = torch.zeros(picks.shape, device=picks.device)
        return Selection(picks, zeros, zeros, tokens)


class CountsSpec(ComponentSpec):
    """One number for each group, or a share of every group."""

    name: Literal["testing.counts"] = "testing.counts"
    keep: tuple[int, ...] = ()
    share: float = 1.0


class Counts(Budget[CountsSpec]):
    """The given numbers; the share is rounded down, to at least 1."""

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group."""
        if self.spec.keep:
            return self.spec.keep
        sizes = [sum(span.tokens for span in group) for group in groups]
        return tuple(min(size, max(1, int(size * self.spec.share))) for size in sizes)


def with_parts(registry: Registry, adapter: Entry | None = None) -> Registry:
    """``registry`` with the parts above, and with one more adapter."""

    @hookimpl
    def scope_selectors() -> Iterable[Entry]:
        return [Entry(ShuffledSpec, Shuffled, "an order that depends on the number of tokens")]

    @hookimpl
    def scope_budgets() -> Iterable[Entry]:
        return [Entry(CountsSpec, Counts, "given numbers")]

    @hookimpl
    def scope_adapters() -> Iterable[Entry]:
        return [] if adapter is None else [adapter]

    hooks: Mapping[str, Any] = {
        "scope_selectors": scope_selectors,
        "scope_budgets": scope_budgets,
        "scope_adapters": scope_adapters,
    }
    return registry.with_module(SimpleNamespace(**hooks), name="scope_core.testing")

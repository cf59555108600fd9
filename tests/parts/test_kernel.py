"""A subclass that changes what a part does, and not the faster way it inherits, is not overtaken by that way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from scope_core import greedy
from scope_core.parts import Kernel, Picks, Problem
from scope_plugins.combiner.product import Product, ProductSpec
from scope_plugins.coverage.facility_location import FacilityLocation, FacilityLocationSpec
from scope_plugins.similarity.cosine import Cosine, CosineSpec


class Sharp(Cosine):
    """The fourth power, in matrices only."""

    def pairwise(self, tokens: scope.VisualTokens) -> Tensor:
        return super().pairwise(tokens).clamp(min=0) ** 4


class Lazy(FacilityLocation):
    """Prefers tokens that cover little."""

    def gain(self, state: Any) -> Tensor:
        return -super().gain(state)


class Flipped(Product):
    """Prefers tokens without saliency."""

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        return gain * (1 - saliency)


class Mixed:
    """Not a part itself."""

    def add(self, state: Any, pick: Tensor) -> Any:
        return super().add(state, pick)  # type: ignore[misc]


class Counting(Kernel):
    """The first tokens."""

    def picks(self, *args: Any) -> Picks:
        count = max(args[-1])
        return Picks(torch.arange(count)[None], torch.ones(1, count), torch.ones(1, count))


class Quick(Lazy):
    """Changed both ways, so the fast one counts."""

    kernel = Counting()


def problem(memory: int | None = None, **changed: Any) -> Problem:
    generator = torch.Generator().manual_seed(0)
    tokens = scope.VisualTokens.of(
        torch.randn(1, 40, 6, generator=generator), saliency=torch.rand(1, 40, generator=generator)
    )
    plain = scope.Pruner("scope@4").parts["selector"].parts
    parts = {name: plain[name] for name in ("saliency", "similarity", "coverage", "combiner")} | changed
    return Problem(tokens, *parts.values(), memory=memory)


CHANGED = {
    "coverage": Lazy(FacilityLocationSpec()),
    "combiner": Flipped(ProductSpec()),
    "similarity": Sharp(CosineSpec()),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_the_steps_decide(kind: str) -> None:
    given = {kind: CHANGED[kind]}
    steps = greedy(problem(**given), [6], ways=("dense",))
    assert torch.equal(greedy(problem(**given), [6]).picks, steps.picks)
    assert not torch.equal(greedy(problem(), [6]).picks, steps.picks)


@pytest.mark.parametrize("kind", CHANGED)
def test_nothing_is_picked_in_blocks(kind: str) -> None:
    assert problem().execution(("blocks",)).way == "blocks"
    changed = problem(**{kind: CHANGED[kind]})
    assert changed.execution(("blocks",)).way == "refuse"
    with pytest.raises(scope.SpecError, match="image 0: path 'blocks' is not possible here"):
        greedy(changed, [3], ways=("blocks",))


@pytest.mark.parametrize("kind", ["coverage", "combiner"])
def test_it_says_why(kind: str) -> None:
    with pytest.raises(scope.SpecError, match=f"{kind} .* has no `?(kernel|affine)"):
        greedy(problem(**{kind: CHANGED[kind]}), [3], ways=("kernel",))


def test_a_mixin_that_changes_a_step_counts() -> None:
    assert type("Both", (Mixed, FacilityLocation), {}).kernel is None
    assert type("Other", (FacilityLocation,), {"needs": frozenset()}).kernel is FacilityLocation.kernel


def test_a_way_of_its_own_counts() -> None:
    assert greedy(problem(coverage=Quick(FacilityLocationSpec())), [3]).picks.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (torch.zeros(1, 3), "returned Tensor; expected scope_core.parts.Picks"),
        (Picks(torch.zeros(3), torch.zeros(3), torch.zeros(3)), r"returned picks of shape \(3,\)"),
        (Picks(torch.zeros(1, 3), None, torch.zeros(1, 3)), "returned gains of shape NoneType"),
    ],
)
def test_what_picks_returns_is_looked_at(returned: Any, said: str) -> None:
    class Odd(Kernel):
        def picks(self, *args: Any) -> Any:
            return returned

    class Wrong(FacilityLocation):
        kernel = Odd()

    with pytest.raises(scope.PluginOutputError, match=said):
        greedy(problem(coverage=Wrong(FacilityLocationSpec())), [3])

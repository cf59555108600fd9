"""A subclass that changes what a part does, and not the faster way it inherits, is not overtaken by that way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from scope_core import greedy
from scope_core.engine.greedy import fast_picks
from scope_core.parts import Kernel, Picks, Problem
from scope_plugins.combiner.product import Product, ProductSpec
from scope_plugins.coverage._fast.facility_location import FacilityLocationKernel
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


class OneSided(Cosine):
    """Another similarity both ways, and its author did not think of `mirrored`."""

    def pairwise(self, tokens: scope.VisualTokens) -> Tensor:
        return super().pairwise(tokens) * torch.linspace(0.1, 1, tokens.shape[1])[:, None]


class OtherPicks(FacilityLocationKernel):
    """A kernel that changes what it inherits."""

    def picks(self, *args: Any) -> Any:
        return Counting().picks(*args)


class Changed(FacilityLocation):
    kernel = OtherPicks()


def problem_of(metric: Cosine, coverage: FacilityLocation) -> Problem:
    registry = scope.default_registry()
    combiner = registry.build_named("combiner", "coverage_only")
    features = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(0))
    return Problem(
        scope.VisualTokens.of(features), registry.build_named("saliency", "uniform"), metric, coverage, combiner
    )


@pytest.mark.parametrize(("metric", "mirrored"), [(Cosine, True), (OneSided, False)])
def test_rows_stand_for_columns_only_where_they_are_the_same(metric: type[Cosine], mirrored: bool) -> None:
    pytest.importorskip("numba")
    problem = problem_of(metric(CosineSpec()), FacilityLocation(FacilityLocationSpec()))
    assert problem.mirrored == mirrored
    picks = fast_picks(problem, [12], ("kernel",))
    assert picks is not None
    assert picks.picks.tolist() == greedy(problem, [12]).picks.tolist()


def test_a_kernel_that_changes_picks_is_asked_where_rows_are_columns() -> None:
    problem = problem_of(Cosine(CosineSpec()), Changed(FacilityLocationSpec()))
    picks = fast_picks(problem, [3], ("kernel",))
    assert picks is not None
    assert picks.picks.tolist() == [[0, 1, 2]]


def test_weighted_rows_are_no_columns() -> None:
    pytest.importorskip("numba")
    spec = {"recipe": "scope", "coverage": {"name": "facility_location", "weights": "feature_norm"}, "budget": 12}
    tokens = torch.randn(40, 8, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.5, 2, 40)[:, None]
    fast, loop = (
        scope.select(tokens, spec={**spec, "optimizer": {"name": "greedy", "path": path}}, saliency=torch.ones(40))
        for path in ("compiled", "loop")
    )
    assert fast.picks.tolist() == loop.picks.tolist()
    assert fast.gains.tolist() == loop.gains.tolist()

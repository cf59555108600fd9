"""Coverage functions against f(A) by definition: gains, what they declare, and similarities that they refuse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import oracles
import oracles_sets
import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.coverage.cases import cosines, gains_along
from scope_core import VisualTokens


@pytest.mark.parametrize("name", ["facility_location", "max_min", "modular"])
@given(seed=st.integers(0, 10_000), order=st.permutations(range(8)))
def test_declared_monotone_and_submodular_hold(name: str, seed: int, order: list[int]) -> None:
    coverage = built(scope.default_registry(), "coverage", name)
    steps = gains_along(coverage, cosines(seed, 8), order)
    for number, (before, after) in enumerate(itertools.pairwise(steps)):
        left = order[number + 1 :]
        if coverage.monotone:
            assert (after[left] >= -1e-12).all()
        if coverage.submodular:
            assert (after[left] <= before[left] + 1e-12).all()


@pytest.mark.parametrize("name", ["facility_location", "max_min", "modular"])
def test_the_states_of_two_calls_are_apart(name: str, registry: scope.Registry) -> None:
    coverage = built(registry, "coverage", name)
    similarity = cosines(1, 6)
    alone = gains_along(coverage, similarity, [4, 2])
    matrix, tokens = torch.tensor(similarity)[None], VisualTokens.of(torch.ones(1, 6, 2, dtype=torch.float64))
    one, other = coverage.start(matrix, tokens), coverage.start(matrix, tokens)
    one = coverage.add(one, torch.tensor([4]))
    other = coverage.add(other, torch.tensor([0]))
    one = coverage.add(one, torch.tensor([2]))
    np.testing.assert_array_equal(coverage.gain(one)[0], alone[2])
    assert matrix[0].numpy().tolist() == similarity.tolist()


TOKENS = 8


def matrix(seed: int, kind: str, count: int = TOKENS) -> np.ndarray:
    """A similarity of the kind that a function is defined for."""
    cosines = oracles.cosine_matrix(np.random.default_rng(seed).normal(size=(count, count + 3)))
    return {"cosine": cosines, "nonnegative": np.maximum(cosines, 0)}[kind]


# name, options, kind of similarity, f(S, A)
FUNCTIONS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("facility_location", {}, "cosine", oracles_sets.facility_location),
    ("modular", {}, "cosine", oracles_sets.modular),
    ("log_det", {}, "cosine", oracles_sets.log_det),
    ("log_det", {"ridge": 0.7}, "cosine", lambda S, A: oracles_sets.log_det(S, A, 0.7)),
    ("graph_cut", {}, "nonnegative", oracles_sets.graph_cut),
    ("graph_cut", {"balance": 0.3}, "nonnegative", lambda S, A: oracles_sets.graph_cut(S, A, 0.3)),
    ("saturated", {}, "nonnegative", oracles_sets.saturated),
    ("saturated", {"share": 0.6}, "nonnegative", lambda S, A: oracles_sets.saturated(S, A, 0.6)),
    ("theta_cover", {"theta": 0.2}, "cosine", lambda S, A: oracles_sets.theta_cover(S, A, 0.2)),
    ("theta_cover", {}, "cosine", oracles_sets.theta_cover),
    (
        "stacked",
        {"of": ["facility_location", {"name": "theta_cover", "theta": 0.3}], "weights": [0.5, 2.0]},
        "cosine",
        lambda S, A: 0.5 * oracles_sets.facility_location(S, A) + 2 * oracles_sets.theta_cover(S, A, 0.3),
    ),
]


CASES = pytest.mark.parametrize(
    ("name", "options", "kind", "value"),
    FUNCTIONS,
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(FUNCTIONS)],
)


@CASES
@given(seed=st.integers(0, 10_000), order=st.permutations(range(TOKENS)))
def test_gains_are_differences_of_the_set_function(
    name: str, options: dict[str, Any], kind: str, value: Any, seed: int, order: list[int]
) -> None:
    S = matrix(seed, kind)
    coverage = built(scope.default_registry(), "coverage", {"name": name, **options})
    for step, gains in enumerate(gains_along(coverage, S, order)):
        left = order[step:]
        expected = [value(S, [*order[:step], j]) - value(S, order[:step]) for j in left]
        np.testing.assert_allclose(gains[left], expected, atol=1e-8)


@CASES
@given(seed=st.integers(0, 10_000), data=st.data())
def test_what_is_declared_of_the_function_holds(
    name: str, options: dict[str, Any], kind: str, value: Any, seed: int, data: st.DataObject
) -> None:
    """Monotone and submodular by definition: f(A + j) - f(A) >= f(B + j) - f(B) for A inside B, j in neither."""
    S = matrix(seed, kind)
    coverage = built(scope.default_registry(), "coverage", {"name": name, **options})
    order = data.draw(st.permutations(range(TOKENS)))
    small, large = sorted(data.draw(st.lists(st.integers(0, TOKENS - 1), min_size=2, max_size=2)))
    inner, outer, extra = order[:small], order[:large], order[-1]
    at_inner = value(S, [*inner, extra]) - value(S, inner)
    at_outer = value(S, [*outer, extra]) - value(S, outer)
    assert coverage.submodular
    assert at_inner >= at_outer - 1e-9
    if coverage.monotone:
        assert at_outer >= -1e-9


def test_declarations() -> None:
    """What the tests above cannot see: a function that forgot to declare what holds."""
    registry = scope.default_registry()
    declared = {
        name: (coverage.monotone, coverage.submodular, coverage.nonnegative_similarity, coverage.uses_similarity)
        for name in ("log_det", "graph_cut", "saturated", "theta_cover", "redundancy", "text_facility_location")
        for coverage in [built(registry, "coverage", name)]
    }
    assert declared == {
        "log_det": (False, True, False, True),
        "graph_cut": (False, True, True, True),
        "saturated": (True, True, True, True),
        "theta_cover": (True, True, False, True),
        "redundancy": (False, False, False, True),
        "text_facility_location": (True, True, False, False),
    }


@pytest.mark.parametrize("coverage", ["graph_cut", "saturated"])
def test_negative_similarities_are_refused_where_they_mean_nothing(coverage: str) -> None:
    features = torch.randn(1, 12, 4, generator=torch.Generator().manual_seed(0))
    spec = {"recipe": "coverage_only", "coverage": coverage, "budget": 3}
    with pytest.raises(scope.SpecError, match="similarities of at least 0, but similarity 'cosine'"):
        scope.select(features, spec=spec)
    for metric in ({"name": "without_negatives"}, {"name": "without_negatives", "how": "shift"}, "row_softmax"):
        assert scope.select(features, spec={**spec, "similarity": metric}).counts == (3,)

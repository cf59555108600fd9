"""Coverage functions against f(A) by definition: gains, monotone, diminishing returns, and what they refuse."""

from __future__ import annotations

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
from plugins.test_coverage import gains_along
from scope_core import VisualTokens
from scope_core.parts import SimilarityMetric

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


class TestStacked:
    def test_declares_what_all_its_functions_do(self, registry: scope.Registry) -> None:
        def stacked(*names: str) -> Any:
            return built(registry, "coverage", {"name": "stacked", "of": names})

        both = stacked("facility_location", "theta_cover")
        assert (both.monotone, both.submodular, both.nonnegative_similarity, both.uses_similarity) == (1, 1, 0, 1)
        mixed = stacked("log_det", "saturated", "max_min")
        assert (mixed.monotone, mixed.submodular, mixed.nonnegative_similarity) == (False, False, True)
        assert not stacked("modular", "text_facility_location").uses_similarity
        assert stacked("modular", "text_facility_location").parts["of"][1].needs == {"text.embeddings"}

    def test_needs_reach_the_pruner(self) -> None:
        spec = {"recipe": "coverage_only", "coverage": {"name": "stacked", "of": ["modular", "text_facility_location"]}}
        assert "text.embeddings" in scope.Pruner(spec).needs

    def test_one_weight_per_function(self) -> None:
        spec = {"recipe": "scope", "coverage": {"name": "stacked", "of": ["modular"], "weights": [1, 2]}}
        with pytest.raises(scope.SpecError, match="one weight per function: 1 functions, weights"):
            scope.Pruner(spec)


class TestRedundancy:
    def test_by_hand(self, registry: scope.Registry) -> None:
        S = np.array([[1, 0.5, 0.25], [0.5, 1, -0.5], [0.25, -0.5, 1]])
        none, one, two = gains_along(built(registry, "coverage", "redundancy"), S, [0, 2])
        assert none.tolist() == [0, 0, 0]
        assert one.tolist() == [-1, -0.5, -0.25]
        assert two.tolist() == [-1, -0.5, -1]

    def test_with_balance_it_is_maximal_marginal_relevance(self) -> None:
        generator = torch.Generator().manual_seed(3)
        features, saliency = torch.randn(1, 30, 6, generator=generator), torch.rand(1, 30, generator=generator)
        spec = {
            "recipe": "scope",
            "coverage": "redundancy",
            "combiner": {"name": "balance", "share": 0.3},
            "budget": 12,
        }
        S, a = oracles.cosine_matrix(features[0].numpy()), saliency[0].double().numpy()
        wanted: list[int] = []
        for _ in range(12):
            left = [j for j in range(30) if j not in wanted]
            score = [0.3 * a[j] - 0.7 * max((S[j, k] for k in wanted), default=0.0) for j in left]
            wanted.append(left[int(np.argmax(score))])
        assert scope.select(features, saliency=saliency, spec=spec).picks[0].tolist() == wanted


class TestLogDet:
    @given(st.integers(0, 10_000), st.integers(1, 7))
    def test_every_greedy_pick_has_the_highest_determinant(self, seed: int, keep: int) -> None:
        features = torch.tensor(np.random.default_rng(seed).normal(size=(1, 7, 9)))
        spec = {"recipe": "coverage_only", "coverage": "log_det", "dtype": "float64", "budget": keep}
        picks = scope.select(features, spec=spec).picks[0].tolist()
        S = oracles.cosine_matrix(features[0].numpy())
        for step, pick in enumerate(picks):
            volumes = {j: np.linalg.det(S[np.ix_([*picks[:step], j], [*picks[:step], j])]) for j in range(7)}
            assert volumes[pick] >= max(volumes[j] for j in volumes if j not in picks[:step]) - 1e-12

    def test_gains_add_up_to_the_determinant(self) -> None:
        features = torch.randn(1, 20, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        spec = {"recipe": "coverage_only", "coverage": "log_det", "dtype": "float64", "budget": 9}
        got = scope.select(features, spec=spec)
        S = oracles.cosine_matrix(features[0].numpy())
        assert got.gains.sum().item() == pytest.approx(oracles_sets.log_det(S, got.picks[0].tolist()), abs=1e-10)

    def test_copies_and_zero_vectors_come_last_by_index(self) -> None:
        features = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
        case = torch.cat([features, features, torch.zeros(2, 16)])
        spec = {"recipe": "coverage_only", "coverage": "log_det", "budget": 14}
        picks = scope.select(case, spec=spec).picks[0].tolist()
        assert sorted(pick % 6 for pick in picks[:6]) == list(range(6))
        assert picks[6:] == sorted(picks[6:])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_more_tokens_than_dimensions(self, dtype: str) -> None:
        """Past the rank of the features nothing is left to span: the rest comes by index, and nothing overflows."""
        features = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(2))
        spec = {"recipe": "coverage_only", "coverage": "log_det", "budget": 40, "dtype": dtype}
        got = scope.select(features, spec=spec)
        assert torch.isfinite(got.gains).all()
        for row in got.picks.tolist():
            assert sorted(row) == list(range(40))
            assert row[5:] == sorted(row[5:])

    @pytest.mark.parametrize(
        ("similarity", "what"),
        [("row_softmax", "is not symmetric"), ({"name": "acme.indefinite"}, "is not positive semi-definite")],
    )
    def test_other_similarities_are_refused(self, similarity: Any, what: str, registry: scope.Registry) -> None:
        from fakes import with_part

        def indefinite(self: Any, tokens: VisualTokens) -> torch.Tensor:
            return torch.ones(*tokens.shape[:2], tokens.shape[1]) * 2 - torch.eye(tokens.shape[1])

        registry = with_part(registry, SimilarityMetric, "acme.indefinite", pairwise=indefinite)
        spec = {"recipe": "coverage_only", "coverage": "log_det", "similarity": similarity, "budget": 3}
        with pytest.raises(scope.SpecError, match=what):
            scope.select(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), spec=spec, registry=registry)


@pytest.mark.parametrize("coverage", ["graph_cut", "saturated"])
def test_negative_similarities_are_refused_where_they_mean_nothing(coverage: str) -> None:
    features = torch.randn(1, 12, 4, generator=torch.Generator().manual_seed(0))
    spec = {"recipe": "coverage_only", "coverage": coverage, "budget": 3}
    with pytest.raises(scope.SpecError, match="similarities of at least 0, and similarity 'cosine'"):
        scope.select(features, spec=spec)
    for metric in ({"name": "without_negatives"}, {"name": "without_negatives", "how": "shift"}, "row_softmax"):
        assert scope.select(features, spec={**spec, "similarity": metric}).counts == (3,)


class TestTextFacilityLocation:
    def case(self, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(1, 14, 6, generator=generator), torch.randn(1, 4, 6, generator=generator)

    @pytest.mark.parametrize("temperature", [0.02, 0.5, None])
    @pytest.mark.parametrize("rows", ["mean", "sum"])
    def test_gains_are_those_of_an_obvious_loop(
        self, temperature: float | None, rows: str, registry: scope.Registry
    ) -> None:
        features, text = (tensor.double() for tensor in self.case())
        part = {"name": "text_facility_location", "temperature": temperature, "rows": rows}
        coverage = built(registry, "coverage", part)
        T = oracles_sets.cosines_between(text[0], features[0])
        if temperature is not None:
            T = oracles_sets.softmax_rows(T, temperature)
        scale = 1 if rows == "mean" else len(T)
        state = coverage.start(None, VisualTokens.of(features, signals={"text.embeddings": text}))
        kept: list[int] = []
        for pick in (3, 11, 0, 7):
            f = oracles_sets.text_facility_location(T, kept)
            want = [scale * (oracles_sets.text_facility_location(T, [*kept, j]) - f) for j in range(14)]
            np.testing.assert_allclose(coverage.gain(state)[0], want, atol=1e-12)
            state = coverage.add(state, torch.tensor([pick]))
            kept.append(pick)

    def test_rows_of_zeros_are_padding(self) -> None:
        features, text = self.case(1)
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        padded = torch.cat([text, torch.zeros(1, 3, 6)], 1)
        alone, beside = (scope.select(features, signals={"text.embeddings": t}, spec=spec) for t in (text, padded))
        assert alone.picks.equal(beside.picks)
        torch.testing.assert_close(alone.gains, beside.gains)

    def test_without_text_every_gain_is_zero(self) -> None:
        features, text = self.case(2)
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        got = scope.select(features, signals={"text.embeddings": text * 0}, spec=spec)
        assert got.picks.tolist() == [[0, 1, 2, 3, 4]]
        assert (got.gains == 0).all()

    def test_padding_takes_no_share(self) -> None:
        features, text = self.case(3)
        wide = torch.cat([features, 9 * text], 1)  # padding that would take all of the softmax
        valid = torch.arange(18)[None] < 14
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        alone = scope.select(features, signals={"text.embeddings": text}, spec=spec)
        beside = scope.select(wide, valid=valid, signals={"text.embeddings": text}, spec=spec)
        assert alone.picks.equal(beside.picks)
        torch.testing.assert_close(alone.gains, beside.gains)

    def test_widths_must_agree(self) -> None:
        features, _ = self.case(4)
        spec = {"recipe": "coverage_only", "coverage": "text_facility_location", "budget": 5}
        with pytest.raises(scope.TokensError, match="their last sizes must agree: set `at: projected`"):
            scope.select(features, signals={"text.embeddings": torch.randn(1, 4, 9)}, spec=spec)

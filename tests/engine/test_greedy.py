"""The greedy engine, on similarity matrices and saliency written out by hand or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import oracles
import pytest
import torch
from fakes import built, entry
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import BudgetError, PluginOutputError, SpecError, VisualTokens, greedy, rank
from scope_core.engine.validation import check_keep
from scope_core.parts import Combiner, CoverageFunction, Part, Problem, SaliencySource, SimilarityMetric

HAND = torch.tensor(
    [
        [1.0, 0.5, 0.25, -0.5],
        [0.5, 1.0, 0.25, -0.25],
        [0.25, 0.25, 1.0, -0.75],
        [-0.5, -0.25, -0.75, 1.0],
    ]
)


def made(base: type[Part], **members: object) -> Part:
    """A live fake part named 'acme.fake' of acme 1.0."""
    record = entry(base, "acme.fake", **members)
    part = record.target(record.model())  # type: ignore[operator]
    part.kind, part.origin = "fake", "acme 1.0"
    return part


def problem(
    similarity: torch.Tensor,
    saliency: torch.Tensor | None = None,
    *,
    valid: torch.Tensor | None = None,
    required: torch.Tensor | None = None,
    coverage: object = "facility_location",
    combiner: object = "product",
    **parts: Part,
) -> Problem:
    registry = scope.default_registry()
    similarity = similarity[None] if similarity.dim() == 2 else similarity
    batch, count, _ = similarity.shape
    saliency = torch.ones(batch, count) if saliency is None else saliency.reshape(batch, count)
    return Problem(
        VisualTokens.of(torch.ones(batch, count, 2, dtype=similarity.dtype), valid=valid, required=required),
        parts.get("source") or made(SaliencySource, score=lambda self, tokens: saliency),  # type: ignore[arg-type]
        parts.get("metric") or made(SimilarityMetric, pairwise=lambda self, tokens: similarity),  # type: ignore[arg-type]
        built(registry, "coverage", coverage) if isinstance(coverage, str) else coverage,  # type: ignore[arg-type]
        combiner if isinstance(combiner, Part) else built(registry, "combiner", combiner),  # type: ignore[arg-type]
    )


class TestGreedy:
    def test_by_hand(self) -> None:
        picks = greedy(problem(HAND), [4])
        assert picks.picks.tolist() == [[0, 3, 2, 1]]
        assert picks.gains.tolist() == [[1.75, 1.0, 0.75, 0.5]]

    @given(st.integers(0, 10_000), st.integers(1, 24), st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.booleans())
    def test_agrees_with_the_oracle(self, seed: int, count: int, alpha: float, product: bool) -> None:
        rng = np.random.default_rng(seed)
        similarity = oracles.cosine_matrix(rng.normal(size=(count, 5)))
        saliency = rng.uniform(0.05, 1, size=count)
        name = "product" if product else "sum"
        got = greedy(
            problem(torch.tensor(similarity), torch.tensor(saliency), combiner={"name": name, "alpha": alpha}), [count]
        )
        want, gains, scores = oracles.scope_picks(similarity, saliency, count, alpha, name)
        if got.picks[0].tolist() != want:  # gains that are 0 in exact arithmetic may come out as 1e-17
            regrets = oracles.scope_regrets(similarity, saliency, got.picks[0].tolist(), alpha, name)
            assert max(regrets) < 1e-13
        else:
            np.testing.assert_allclose(got.gains[0], gains, atol=1e-12)
            np.testing.assert_allclose(got.scores[0], scores, atol=1e-12)

    def test_ties_break_to_the_lowest_index(self) -> None:
        assert greedy(problem(torch.ones(5, 5)), [5]).picks.tolist() == [[0, 1, 2, 3, 4]]
        assert greedy(problem(torch.eye(5)), [3]).picks.tolist() == [[0, 1, 2]]
        saliency = torch.tensor([1.0, 2.0, 2.0, 1.0, 2.0])
        assert greedy(problem(torch.eye(5), saliency), [5]).picks.tolist() == [[1, 2, 4, 0, 3]]

    def test_groups_of_unequal_counts_run_together(self) -> None:
        batch = torch.stack([HAND, HAND.flip(0, 1), HAND])
        together = greedy(problem(batch), [1, 4, 0])
        assert together.picks.tolist() == [[0, -1, -1, -1], [2, 0, 1, 3], [-1] * 4]
        assert together.gains.isnan().tolist() == [[False, True, True, True], [False] * 4, [True] * 4]
        assert together.scores.isnan().equal(together.picks < 0)

    def test_required_tokens_come_first_and_count_as_covered(self) -> None:
        required = torch.tensor([[False, False, True, False]])
        assert greedy(problem(HAND, required=required), [3]).picks.tolist() == [[2, 0, 3]]

    def test_padding_is_neither_picked_nor_covered(self) -> None:
        valid = torch.tensor([[True, False, True, True]])
        noisy = HAND.clone()
        noisy[1], noisy[:, 1] = float("nan"), float("nan")
        got = greedy(problem(noisy, valid=valid), [3])
        assert got.picks.tolist()[0] == oracles.scope_picks(noisy, np.ones(4), 3, valid=valid[0].numpy())[0]

    def test_nothing_to_keep(self) -> None:
        assert greedy(problem(HAND), [0]).picks.shape == (1, 0)


def ranked_alike(score: torch.Tensor, case: Problem, keep: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way to rank gives the bytes of the long one."""
    short = rank(score, score + 1, case, keep)
    with monkeypatch.context() as patch:
        patch.setattr("scope_core.engine.greedy._highest", lambda *_: None)
        whole = rank(score, score + 1, case, keep)
    for one, other in ((short.picks, whole.picks), (short.gains, whole.gains), (short.scores, whole.scores)):
        assert one.numpy().tobytes() == other.numpy().tobytes()


class TestRank:
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
    def test_is_a_stable_sort_of_the_candidates(self, scores: list[int], data: st.DataObject) -> None:
        count = len(scores)
        valid = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
        keep = data.draw(st.integers(0, sum(valid)))
        case = problem(torch.eye(count), valid=torch.tensor([valid]))
        score = torch.tensor([scores], dtype=torch.float32)
        assert rank(score, score, case, [keep]).picks[0].tolist() == oracles.top_k_picks(
            np.array(scores), keep, np.array(valid)
        )

    def test_required_tokens_outrank_the_others(self) -> None:
        case = problem(torch.eye(4), required=torch.tensor([[False, True, False, True]]))
        score = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
        assert rank(score, score, case, [3]).picks.tolist() == [[3, 1, 0]]

    @pytest.mark.parametrize("keep", [[0, 0], [1, 1], [6, 6], [6, 2]])
    def test_groups_without_padding_are_ranked_alike(self, keep: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        case = problem(torch.eye(6).expand(2, 6, 6).contiguous(), combiner="coverage_only")
        scores = [torch.randint(3, (2, 6), generator=torch.Generator().manual_seed(seed)).float() for seed in range(9)]
        for score in [*scores, torch.tensor([[0.0, -0.0, 1.0, -1.0, 0.0, -0.0]] * 2)]:
            ranked_alike(score, case, keep, monkeypatch)

    @pytest.mark.parametrize("keep", [[1, 1], [4, 3], [0, 3], [4, 0]])
    def test_groups_with_padding_are_ranked_alike(self, keep: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        valid = torch.tensor([[True, False, True, True, False, True], [False, True, True, True, False, False]])
        case = problem(torch.eye(6).expand(2, 6, 6).contiguous(), combiner="coverage_only", valid=valid)
        for seed in range(9):
            score = torch.randint(3, (2, 6), generator=torch.Generator().manual_seed(seed)).float()
            score = score.masked_fill(~valid, torch.nan if seed % 2 else 9.0)
            ranked_alike(score, case, keep, monkeypatch)

    @pytest.mark.parametrize("bad", [-torch.inf, torch.inf, torch.nan])
    def test_scores_that_are_not_finite_are_refused_beside_padding(self, bad: float) -> None:
        valid = torch.tensor([[False, True, True, True]])
        score = torch.tensor([[5.0, 1.0, bad, 2.0]])
        with pytest.raises(PluginOutputError, match=rf"has score {bad}"):
            rank(score, score, problem(torch.eye(4), valid=valid), [3])


class TestCheckKeep:
    @pytest.mark.parametrize(
        ("keep", "text"),
        [
            ([5], "image 0: cannot keep 5 of 4 candidate tokens"),
            ([-1], "image 0: cannot keep -1 of 4"),
            ([1], "image 0: 2 tokens must be kept, but the budget is 1"),
            ([1, 1], "2 counts were given for 1 groups"),
        ],
    )
    def test_impossible_counts(self, keep: Sequence[int], text: str) -> None:
        tokens = problem(HAND, required=torch.tensor([[True, True, False, False]])).tokens
        with pytest.raises(BudgetError, match=text):
            check_keep(tokens, keep)


class TestSkippedWork:
    def test_no_similarity_where_nothing_reads_it(self) -> None:
        def never(self: object, tokens: object) -> torch.Tensor:
            raise AssertionError("similarity was computed")

        metric = made(SimilarityMetric, pairwise=never)
        saliency = torch.tensor([[1.0, 3.0, 2.0, 0.0]])
        for options in ({"coverage": "modular"}, {"combiner": "saliency_only"}):
            case = problem(HAND, saliency, metric=metric, **options)  # type: ignore[arg-type]
            assert greedy(case, [3]).picks.tolist() == [[1, 2, 0]]

    def test_no_saliency_where_the_combiner_reads_none(self) -> None:
        def never(self: object, tokens: object) -> torch.Tensor:
            raise AssertionError("saliency was computed")

        source = made(SaliencySource, score=never)
        assert greedy(problem(HAND, combiner="coverage_only", source=source), [2]).picks.tolist() == [[0, 3]]


GOOD = torch.ones(1, 4)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.ones(1, 5), "returned shape (1, 5); expected (1, 4)"),
        (torch.ones(4), "returned shape (4,); expected (1, 4)"),
        (torch.ones(1, 4, dtype=torch.int64), "returned dtype torch.int64; expected floating point"),
        (None, "returned NoneType; expected a tensor of shape (1, 4)"),
        (torch.ones(1, 4, device="meta"), "returned a tensor on meta; the tokens are on cpu"),
    ],
)
class TestWrongOutputs:
    """Each is named with its distribution, what it returned and what was expected."""

    def check(self, case: Problem, what: str, text: str) -> None:
        with pytest.raises(PluginOutputError) as caught:
            greedy(case, [2])
        assert "'acme.fake' (acme 1.0)" in str(caught.value)
        assert what in str(caught.value)
        assert text in str(caught.value)

    def test_saliency(self, value: object, text: str) -> None:
        source = made(SaliencySource, score=lambda self, tokens: value)
        self.check(problem(HAND, source=source), "score()", text)

    def test_coverage(self, value: object, text: str) -> None:
        members = {
            "start": lambda self, similarity, tokens: 0,
            "gain": lambda self, state: value,
            "add": lambda self, state, pick: state,
        }
        self.check(problem(HAND, coverage=made(CoverageFunction, **members)), "gain()", text)

    def test_combiner(self, value: object, text: str) -> None:
        fake = made(Combiner, combine=lambda self, gain, saliency: value)
        self.check(problem(HAND, combiner=fake), "combine()", text)

    def test_prepared_saliency(self, value: object, text: str) -> None:
        members = {"prepare": lambda self, saliency, tokens: value, "combine": lambda self, gain, saliency: gain}
        self.check(problem(HAND, combiner=made(Combiner, **members)), "prepare()", text)


class TestBadNumbers:
    def test_similarity_that_is_not_finite_names_the_pair(self) -> None:
        broken = HAND.clone()
        broken[2, 1] = float("inf")
        with pytest.raises(
            PluginOutputError, match=r"'acme.fake' \(acme 1.0\): pairwise\(\) gave inf for image 0, token 2"
        ):
            greedy(problem(broken), [2])

    def test_conditioned_similarity_is_checked_too(self) -> None:
        members = {
            "condition": lambda self, similarity, saliency: similarity[:, :2],
            "combine": lambda self, gain, saliency: gain,
        }
        with pytest.raises(PluginOutputError, match=r"condition\(\) on image 0 returned shape \(1, 2, 4\)"):
            greedy(problem(HAND, combiner=made(Combiner, **members)), [2])

    def test_score_that_is_not_finite_names_both_parts(self) -> None:
        fake = made(Combiner, combine=lambda self, gain, saliency: gain.log() - torch.inf)
        with pytest.raises(PluginOutputError) as caught:
            greedy(problem(HAND, combiner=fake), [2])
        for text in ("pick 0 of image 0 has score -inf", "'facility_location'", "'acme.fake' (acme 1.0)"):
            assert text in str(caught.value)

    def test_saliency_that_is_not_finite_names_the_source_and_its_signal(self) -> None:
        source = made(
            SaliencySource,
            score=lambda self, tokens: torch.tensor([[1.0, float("nan"), 1.0, 1.0]]),
            needs=property(lambda self: frozenset({"vision.keys[-2]"})),
        )
        with pytest.raises(scope.TokensError, match=r"'acme.fake'.*from vision.keys\[-2\].*image 0, token 1 is nan"):
            greedy(problem(HAND, source=source), [2])

    def test_negative_similarity_where_the_coverage_forbids_it(self) -> None:
        coverage = replace(problem(HAND)).coverage
        strict = made(
            CoverageFunction,
            nonnegative_similarity=True,
            start=lambda self, similarity, tokens: coverage.start(similarity, tokens),
            gain=lambda self, state: coverage.gain(state),
            add=lambda self, state, pick: coverage.add(state, pick),
        )
        with pytest.raises(SpecError, match=r"defined for similarities of at least 0.*gave -0.75"):
            greedy(problem(HAND, coverage=strict), [2])
        assert greedy(problem(HAND.clamp(min=0), coverage=strict), [2]).picks.tolist() == [[0, 3]]

"""The oracles themselves, checked by hand-worked cases and by brute force on tiny inputs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import oracles
import pytest

GREEDY_BOUND = 1.0 - 1.0 / math.e

# Worked by hand. Columns sum (negatives as 0) to 1.75, 1.75, 1.5, 1.0: token 0 wins the tie, c becomes
# (1, .5, .25, 0), and the second gains are 1: .5, 2: .75, 3: 1.
HAND = np.array(
    [
        [1.0, 0.5, 0.25, -0.5],
        [0.5, 1.0, 0.25, -0.25],
        [0.25, 0.25, 1.0, -0.75],
        [-0.5, -0.25, -0.75, 1.0],
    ]
)


def random_case(seed: int, n: int, d: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return oracles.cosine_matrix(rng.normal(size=(n, d))), rng.uniform(0.05, 1.0, size=n)


def brute_value(similarity: np.ndarray, kept: tuple[int, ...]) -> float:
    total = 0.0
    for i in range(len(similarity)):
        best = 0.0
        for j in kept:
            best = max(best, similarity[i, j])
        total += best
    return total


def brute_gain(similarity: np.ndarray, picks: list[int], j: int) -> float:
    return brute_value(similarity, (*picks, j)) - brute_value(similarity, tuple(picks))


class TestSimilarity:
    def test_known_cosines(self) -> None:
        got = oracles.cosine_matrix([[2.0, 0.0], [0.0, 0.5], [-3.0, 0.0], [1.0, 1.0]])
        half = math.sqrt(0.5)
        want = [[1, 0, -1, half], [0, 1, 0, half], [-1, 0, 1, -half], [half, half, -half, 1]]
        np.testing.assert_allclose(got, want, atol=1e-15)

    def test_matches_numpy(self) -> None:
        features = np.random.default_rng(0).normal(size=(20, 7))
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        np.testing.assert_allclose(oracles.cosine_matrix(features), unit @ unit.T, atol=1e-14)
        np.testing.assert_allclose(oracles.dot_matrix(features), features @ features.T, atol=1e-13)

    def test_zero_row_is_similar_to_nothing_not_even_itself(self) -> None:
        got = oracles.cosine_matrix([[1.0, 2.0], [0.0, 0.0], [-0.0, 0.0]])
        assert got[0, 0] == 1.0
        assert not got[1:].any()
        assert not got[:, 1:].any()

    def test_self_copies_and_scale(self) -> None:
        features = np.random.default_rng(1).normal(size=(9, 33))
        features[5] = features[2]
        features[7] = 4.0 * features[2]
        got = oracles.cosine_matrix(features)
        assert (np.diag(got) == 1.0).all()
        assert got[2, 5] == got[2, 7] == got[7, 5] == 1.0
        assert (got[:, 2] == got[:, 5]).all()
        assert (got[:, 2] == got[:, 7]).all()
        assert (got == got.T).all()
        assert np.abs(got).max() <= 1.0

    @pytest.mark.parametrize("size", [1e-200, 1e200])
    def test_extreme_norms(self, size: float) -> None:
        got = oracles.cosine_matrix(np.array([[3.0, 4.0], [4.0, 3.0]]) * size)
        np.testing.assert_allclose(got, [[1.0, 0.96], [0.96, 1.0]], rtol=1e-14)

    def test_half_precision_input_is_computed_in_float64(self) -> None:
        features = np.random.default_rng(2).normal(size=(6, 50)).astype(np.float16)
        got = oracles.cosine_matrix(features)
        assert got.dtype == np.float64
        assert (got == oracles.cosine_matrix(features.astype(np.float64))).all()


class TestScope:
    def test_hand_worked(self) -> None:
        picks, gains, scores = oracles.scope_picks(HAND, np.ones(4), 4)
        assert picks == [0, 3, 2, 1]
        assert gains == scores == [1.75, 1.0, 0.75, 0.5]

    def test_hand_worked_with_saliency(self) -> None:
        saliency = [1.0, 2.0, 0.5, 0.5]
        # 1.75, 3.5, .75, .5 -> 1; then gains .5, -, .75, 1 -> .5, -, .375, .5 -> 0 before 3
        assert oracles.scope_picks(HAND, saliency, 2) == ([1, 0], [1.75, 0.5], [3.5, 0.5])
        # 2.75, 3.75, 2, 1.5 -> 1; then 1.5, -, 1.25, 1.5 -> 0 before 3
        assert oracles.scope_picks(HAND, saliency, 2, combine="sum") == ([1, 0], [1.75, 0.5], [3.75, 1.5])
        # squared: 1.75, 7, .375, .25 -> 1; then .5, -, .1875, .25 -> 0
        assert oracles.scope_picks(HAND, saliency, 2, alpha=2.0)[2] == [7.0, 0.5]

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize(("combine", "alpha"), [("product", 1.0), ("product", 0.5), ("sum", 1.0)])
    def test_every_pick_is_the_brute_force_maximum(self, seed: int, combine: str, alpha: float) -> None:
        similarity, saliency = random_case(seed, 8)
        picks, gains, scores = oracles.scope_picks(similarity, saliency, 8, alpha, combine)
        assert sorted(picks) == list(range(8))
        for step, pick in enumerate(picks):
            rest = {}
            for j in set(range(8)) - set(picks[:step]):
                gain, weight = brute_gain(similarity, picks[:step], j), saliency[j] ** alpha
                rest[j] = gain * weight if combine == "product" else gain + weight
            assert gains[step] == pytest.approx(brute_gain(similarity, picks[:step], pick), abs=1e-12)
            assert scores[step] == pytest.approx(rest[pick], abs=1e-12)
            assert rest[pick] >= max(rest.values()) - 1e-12

    def test_first_pick_maximises_over_all_tokens(self) -> None:
        similarity, saliency = random_case(7, 30)
        picks, _, _ = oracles.scope_picks(similarity, saliency, 1)
        assert picks == [int(np.argmax(saliency * np.maximum(similarity, 0.0).sum(axis=0)))]

    @pytest.mark.parametrize("seed", range(5))
    def test_alpha_zero_product_is_coverage_only(self, seed: int) -> None:
        similarity, saliency = random_case(seed, 24)
        saliency[3] = 0.0  # 0 ** 0 is 1
        picks, gains, scores = oracles.scope_picks(similarity, saliency, 24, alpha=0.0)
        assert (picks, gains) == oracles.coverage_only_picks(similarity, 24)
        assert scores == gains

    def test_alpha_zero_sum_is_coverage_only_too(self) -> None:
        similarity, saliency = random_case(9, 24)
        assert (
            oracles.scope_picks(similarity, saliency, 12, 0.0, "sum")[0]
            == oracles.coverage_only_picks(similarity, 12)[0]
        )

    def test_product_ignores_the_scale_of_saliency_and_sum_does_not(self) -> None:
        similarity, saliency = random_case(11, 30)
        product = oracles.scope_picks(similarity, saliency, 10)[0]
        assert product == oracles.scope_picks(similarity, saliency / 16.0, 10)[0]
        added = oracles.scope_picks(similarity, saliency, 10, combine="sum")[0]
        assert added != oracles.scope_picks(similarity, 1e6 * saliency, 10, combine="sum")[0]
        assert oracles.scope_picks(similarity, 1e6 * saliency, 10, combine="sum")[0] == oracles.top_k_picks(
            saliency, 10
        )

    def test_orthogonal_tokens_come_in_order_of_saliency(self) -> None:
        saliency = np.random.default_rng(12).random(16)
        assert oracles.scope_picks(np.eye(16), saliency, 16)[0] == oracles.top_k_picks(saliency, 16)

    def test_negative_similarity_never_counts(self) -> None:
        similarity, saliency = random_case(13, 16)
        assert similarity.min() < 0
        clipped = np.maximum(similarity, 0.0)
        assert oracles.scope_picks(similarity, saliency, 16) == oracles.scope_picks(clipped, saliency, 16)

    def test_ties_go_to_the_lowest_index(self) -> None:
        assert oracles.scope_picks(np.eye(5), np.ones(5), 5)[0] == [0, 1, 2, 3, 4]
        ring = np.empty((5, 5))
        for i, j in itertools.product(range(5), range(5)):
            ring[i, j] = (1.0, 0.7, 0.1, 0.1, 0.7)[(i - j) % 5]
        assert oracles.scope_picks(ring, np.ones(5), 1)[0] == [0]  # five equal sums, added up in five orders

    def test_exhausted_gain_falls_to_the_lowest_index_left(self) -> None:
        picks, gains, scores = oracles.scope_picks(np.ones((5, 5)), [0.1, 0.2, 0.9, 0.4, 0.3], 5)
        assert picks == [2, 0, 1, 3, 4]
        assert gains == [5.0, 0.0, 0.0, 0.0, 0.0]
        assert scores == [4.5, 0.0, 0.0, 0.0, 0.0]

    @pytest.mark.parametrize("combine", ["product", "sum"])
    def test_permuting_the_tokens_permutes_the_picks(self, combine: str) -> None:
        similarity, saliency = random_case(14, 40, d=8)
        order = np.random.default_rng(15).permutation(40)
        picks, gains, scores = oracles.scope_picks(similarity, saliency, 20, combine=combine)
        moved = oracles.scope_picks(similarity[np.ix_(order, order)], saliency[order], 20, combine=combine)
        assert [int(order[j]) for j in moved[0]] == picks
        assert moved[1:] == (gains, scores)

    def test_invalid_tokens_might_as_well_not_exist(self) -> None:
        similarity, saliency = random_case(16, 20)
        valid = np.random.default_rng(17).random(20) < 0.6
        rows = np.flatnonzero(valid)
        small = oracles.scope_picks(similarity[np.ix_(rows, rows)], saliency[rows], len(rows))
        similarity[~valid], similarity[:, ~valid], saliency[~valid] = np.nan, np.inf, np.nan
        picks, gains, scores = oracles.scope_picks(similarity, saliency, len(rows), valid=valid)
        assert picks == [int(rows[j]) for j in small[0]]
        assert (gains, scores) == small[1:]

    def test_gains_of_any_run_add_up_to_the_facility_value(self) -> None:
        similarity, saliency = random_case(18, 25)
        picks, gains, _ = oracles.scope_picks(similarity, saliency, 12)
        assert sum(gains) == pytest.approx(oracles.facility_value(similarity, picks), rel=1e-13)

    def test_asymmetric_similarity_reads_candidates_from_columns(self) -> None:
        similarity = np.array([[0.1, 0.9, 0.0], [0.0, 0.2, 0.0], [0.0, 0.8, 0.3]])
        assert oracles.scope_picks(similarity, np.ones(3), 3)[0] == [1, 0, 2]
        assert oracles.coverage_only_picks(similarity, 3)[0] == [1, 0, 2]

    def test_edges(self) -> None:
        assert oracles.scope_picks(HAND, np.ones(4), 0) == ([], [], [])
        assert oracles.scope_picks([[1.0]], [0.5], 1) == ([0], [1.0], [0.5])
        assert oracles.scope_picks(np.zeros((0, 0)), [], 0) == ([], [], [])
        assert oracles.scope_picks(HAND, np.zeros(4), 3)[0] == [0, 1, 2]

    def test_impossible_requests(self) -> None:
        ones = np.ones(4)
        with pytest.raises(ValueError, match="cannot pick 5 of 4"):
            oracles.scope_picks(HAND, ones, 5)
        with pytest.raises(ValueError, match="cannot pick 3 of 2"):
            oracles.scope_picks(HAND, ones, 3, valid=np.array([True, False, True, False]))
        with pytest.raises(ValueError, match="combine"):
            oracles.scope_picks(HAND, ones, 1, combine="max")
        with pytest.raises(ValueError, match="saliency holds NaN"):
            oracles.scope_picks(HAND, [1.0, np.nan, 1.0, 1.0], 1)
        with pytest.raises(ValueError, match="similarity holds NaN"):
            oracles.scope_picks(np.where(np.eye(4) > 0, np.nan, HAND), ones, 1)
        with pytest.raises(ValueError, match=r"saliency \*\* 0.5"):
            oracles.scope_picks(HAND, -ones, 1, alpha=0.5)
        with pytest.raises(ValueError, match="3 saliencies for 4"):
            oracles.scope_picks(HAND, np.ones(3), 1)
        with pytest.raises(ValueError, match="must be bool"):
            oracles.scope_picks(HAND, ones, 1, valid=np.array([0, 1, 1, 1]))


class TestRegrets:
    @pytest.mark.parametrize("combine", ["product", "sum"])
    def test_the_oracle_regrets_nothing(self, combine: str) -> None:
        similarity, saliency = random_case(20, 20)
        picks, _, _ = oracles.scope_picks(similarity, saliency, 9, 1.5, combine)
        assert oracles.scope_regrets(similarity, saliency, picks, 1.5, combine) == [0.0] * 9
        far, _ = oracles.max_min_picks(similarity, 9)
        assert oracles.max_min_regrets(similarity, far) == [0.0] * 9

    def test_a_wrong_pick_is_charged_once_and_by_how_much(self) -> None:
        assert oracles.scope_regrets(HAND, np.ones(4), [3, 2]) == [0.75, 0.25]  # 1.75 - 1, then 1.75 - 1.5
        picks, _, _ = oracles.scope_picks(HAND, np.ones(4), 4)
        assert oracles.scope_regrets(HAND, np.ones(4), picks[:2] + picks[:1:-1]) == [0.0, 0.0, 0.25, 0.0]
        assert oracles.max_min_regrets(HAND, [0, 1]) == [0.75, 1.0]  # 1.25 - .5, then 1.5 - .5

    def test_repeated_pick(self) -> None:
        with pytest.raises(ValueError, match="distinct"):
            oracles.scope_regrets(HAND, np.ones(4), [1, 1])


class TestCoverageOnly:
    @pytest.mark.parametrize("seed", range(12))
    def test_greedy_is_within_its_bound_of_the_optimum(self, seed: int) -> None:
        n = 5 + seed % 4
        similarity, _ = random_case(seed, n, d=3)
        for k in range(1, n + 1):
            picks, gains = oracles.coverage_only_picks(similarity, k)
            value = brute_value(similarity, tuple(picks))
            best = max(brute_value(similarity, kept) for kept in itertools.combinations(range(n), k))
            assert GREEDY_BOUND * best <= value <= best + 1e-12
            assert sum(gains) == pytest.approx(value, abs=1e-12)
        assert value == pytest.approx(best)

    def test_gains_never_grow(self) -> None:
        _, gains = oracles.coverage_only_picks(random_case(30, 40)[0], 40)
        assert all(later <= earlier for earlier, later in itertools.pairwise(gains))

    def test_each_prefix_is_the_answer_for_a_smaller_budget(self) -> None:
        similarity, _ = random_case(31, 20)
        picks, gains = oracles.coverage_only_picks(similarity, 20)
        assert oracles.coverage_only_picks(similarity, 7) == (picks[:7], gains[:7])

    def test_ties_valid_and_edges(self) -> None:
        assert oracles.coverage_only_picks(np.eye(4), 4)[0] == [0, 1, 2, 3]
        assert oracles.coverage_only_picks(np.zeros((3, 3)), 3) == ([0, 1, 2], [0.0, 0.0, 0.0])
        assert oracles.coverage_only_picks(HAND, 2, valid=np.array([False, True, True, True]))[0] == [1, 3]
        assert oracles.coverage_only_picks(HAND, 0) == ([], [])


class TestTopK:
    def test_order_and_ties(self) -> None:
        assert oracles.top_k_picks([1.0, 3.0, 3.0, -2.0, 5.0, 3.0], 4) == [4, 1, 2, 5]
        assert oracles.top_k_picks([0.0, -0.0, 0.0], 3) == [0, 1, 2]
        assert oracles.top_k_picks([1.0, 2.0], 0) == []

    def test_valid(self) -> None:
        assert oracles.top_k_picks([np.nan, 1.0, 2.0], 2, valid=np.array([False, True, True])) == [2, 1]
        with pytest.raises(ValueError, match="cannot pick"):
            oracles.top_k_picks([9.0, 1.0], 2, valid=np.array([False, True]))

    def test_agrees_with_a_stable_sort(self) -> None:
        score = np.random.default_rng(40).integers(0, 6, size=50).astype(float)
        assert oracles.top_k_picks(score, 20) == np.argsort(-score, kind="stable")[:20].tolist()


class TestMaxMin:
    def test_hand_worked(self) -> None:
        # Nearest-neighbour distances .5, .5, .75, 1.25 -> 3; from it 1.5, 1.25, 1.75 -> 2; then .75, .75 -> 0
        assert oracles.max_min_picks(HAND, 4) == ([3, 2, 0, 1], [1.25, 1.75, 0.75, 0.5])

    @pytest.mark.parametrize("seed", range(6))
    def test_every_pick_is_the_brute_force_maximum(self, seed: int) -> None:
        similarity, _ = random_case(seed, 8)
        picks, distances = oracles.max_min_picks(similarity, 8)
        assert sorted(picks) == list(range(8))
        for step, pick in enumerate(picks):
            nearest = {}
            for j in set(range(8)) - set(picks[:step]):
                others = picks[:step] or [i for i in range(8) if i != j]
                nearest[j] = min(1.0 - similarity[i, j] for i in others)
            assert distances[step] == nearest[pick] == max(nearest.values())

    @pytest.mark.parametrize("seed", range(8))
    def test_farthest_point_is_within_its_bound_of_the_optimum(self, seed: int) -> None:
        # Chordal distance sqrt(2 (1 - cos)) is a metric, where farthest-point keeps at least half of the best
        # smallest distance; in 1 - cos itself that is a quarter.
        similarity, _ = random_case(seed, 8, d=3)

        def spread(kept: tuple[int, ...]) -> float:
            return min(1.0 - similarity[i, j] for i, j in itertools.combinations(kept, 2))

        for k in range(2, 9):
            picks, _ = oracles.max_min_picks(similarity, k)
            best = max(spread(kept) for kept in itertools.combinations(range(8), k))
            assert best / 4.0 - 1e-12 <= spread(tuple(picks)) <= best

    def test_permuting_the_tokens_permutes_the_picks(self) -> None:
        # Not so where two mutual nearest neighbours tie for the first pick; this seed is free of that.
        similarity, _ = random_case(50, 30, d=8)
        order = np.random.default_rng(51).permutation(30)
        picks, distances = oracles.max_min_picks(similarity, 15)
        moved = oracles.max_min_picks(similarity[np.ix_(order, order)], 15)
        assert ([int(order[j]) for j in moved[0]], moved[1]) == (picks, distances)

    def test_ties_copies_and_edges(self) -> None:
        assert oracles.max_min_picks(np.eye(4), 4) == ([0, 1, 2, 3], [1.0] * 4)
        assert oracles.max_min_picks(np.ones((3, 3)), 3) == ([0, 1, 2], [0.0] * 3)
        assert oracles.max_min_picks([[1.0]], 1) == ([0], [math.inf])
        assert oracles.max_min_regrets([[1.0]], [0]) == [0.0]
        assert oracles.max_min_picks(HAND, 0) == ([], [])

    def test_zero_norm_tokens_are_at_distance_one_of_each_other(self) -> None:
        similarity = oracles.cosine_matrix([[1.0, 0.0], [0.0, 0.0], [1.0, 0.1], [0.0, 0.0]])
        picks, distances = oracles.max_min_picks(similarity, 3)
        assert picks == [1, 0, 3]
        assert distances == [1.0, 1.0, 1.0]

    def test_valid(self) -> None:
        masked = np.where(np.arange(4)[:, None] == 3, np.nan, HAND)
        valid = np.array([True, True, True, False])
        assert oracles.max_min_picks(masked, 3, valid)[0] == oracles.max_min_picks(HAND[:3, :3], 3)[0]


class TestJudging:
    def test_theta_coverage_by_hand(self) -> None:
        angles = np.radians([0.0, 10.0, 50.0, 90.0, 180.0])
        features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        assert oracles.theta_coverage(features, [0], 0.98) == pytest.approx(2 / 5)
        assert oracles.theta_coverage(features, [0, 3], 0.7) == pytest.approx(4 / 5)
        assert oracles.theta_coverage(features, [0], -1.0) == 1.0
        assert oracles.theta_coverage(features, [], -1.0) == 0.0

    def test_theta_coverage_at_one_counts_kept_tokens_and_their_copies(self) -> None:
        features = np.random.default_rng(60).normal(size=(10, 37))
        features[8] = features[1]
        assert oracles.theta_coverage(features, range(10), 1.0) == 1.0
        assert oracles.theta_coverage(features, [1, 4], 1.0) == pytest.approx(3 / 10)

    def test_theta_coverage_falls_with_theta_and_grows_with_the_set(self) -> None:
        features = np.random.default_rng(61).normal(size=(40, 5))
        shares = [oracles.theta_coverage(features, range(8), t) for t in np.linspace(-1.0, 1.0, 9)]
        assert shares == sorted(shares, reverse=True)
        grown = [oracles.theta_coverage(features, range(m), 0.6) for m in range(0, 41, 8)]
        assert grown == sorted(grown)

    def test_theta_coverage_of_padding_and_zero_tokens(self) -> None:
        features = np.array([[1.0, 0.0], [np.nan, np.inf], [0.0, 0.0]])
        valid = np.array([True, False, True])
        assert oracles.theta_coverage(features, [0, 2], 0.5, valid) == 0.5
        with pytest.raises(ValueError, match="distinct valid"):
            oracles.theta_coverage(features, [1], 0.5, valid)
        with pytest.raises(ValueError, match="features holds NaN"):
            oracles.theta_coverage(features, [0], 0.5)

    def test_saliency_share(self) -> None:
        assert oracles.saliency_share([1.0, 2.0, 5.0], [2, 0]) == 0.75
        assert oracles.saliency_share([1.0, 2.0, 5.0], []) == 0.0
        assert oracles.saliency_share([1.0, np.nan, 3.0], [2], np.array([True, False, True])) == 0.75
        assert math.isnan(oracles.saliency_share([0.0, 0.0], [1]))

    def test_top_k_holds_the_largest_saliency_share(self) -> None:
        saliency = np.random.default_rng(62).random(8)
        top = oracles.saliency_share(saliency, oracles.top_k_picks(saliency, 3))
        assert top == max(oracles.saliency_share(saliency, c) for c in itertools.combinations(range(8), 3))

    def test_facility_value_is_monotone_and_submodular(self) -> None:
        similarity, _ = random_case(63, 6)
        sets = [set(c) for m in range(7) for c in itertools.combinations(range(6), m)]
        value = {frozenset(s): oracles.facility_value(similarity, sorted(s)) for s in sets}
        assert value[frozenset()] == 0.0
        for s in sets:
            assert value[frozenset(s)] == pytest.approx(brute_value(similarity, tuple(s)), abs=1e-12)
            for j in set(range(6)) - s:
                gain = value[frozenset(s | {j})] - value[frozenset(s)]
                assert gain >= 0.0
                for other in set(range(6)) - s - {j}:
                    later = value[frozenset(s | {other, j})] - value[frozenset(s | {other})]
                    assert later <= gain + 1e-12

    def test_facility_value_skips_padding(self) -> None:
        assert oracles.facility_value(HAND, [0], np.array([True, True, False, True])) == 1.5


class TestAttention:
    def test_cls_by_hand(self) -> None:
        # Logits log 1, log 2, log 5 over CLS and two patches
        keys = np.log([[[1.0], [2.0], [5.0]]]) / 3.0
        np.testing.assert_allclose(oracles.cls_attention([[6.0]], keys, 0.5), [[2 / 8, 5 / 8]], rtol=1e-14)

    def test_cls_matches_plain_numpy_and_leaves_out_what_cls_keeps(self) -> None:
        rng = np.random.default_rng(70)
        q, k = rng.normal(size=(3, 8)), rng.normal(size=(3, 11, 8))
        weights = np.exp(0.35 * np.einsum("hd,hmd->hm", q, k))
        weights /= weights.sum(axis=1, keepdims=True)
        got = oracles.cls_attention(q, k, 0.35)
        np.testing.assert_allclose(got, weights[:, 1:], rtol=1e-12)
        np.testing.assert_allclose(1.0 - got.sum(axis=1), weights[:, 0], rtol=1e-12)

    def test_received_matches_plain_numpy(self) -> None:
        rng = np.random.default_rng(71)
        q, k = rng.normal(size=(2, 9, 4)), rng.normal(size=(2, 9, 4))
        weights = np.exp(0.5 * np.einsum("hqd,hkd->hqk", q, k))
        weights /= weights.sum(axis=2, keepdims=True)
        for prefix in (0, 1, 3, 9):
            got = oracles.received_attention(q, k, prefix, 0.5)
            assert got.shape == (2, 9 - prefix)
            np.testing.assert_allclose(got, weights.mean(axis=1)[:, prefix:], rtol=1e-12)
        np.testing.assert_allclose(oracles.received_attention(q, k, 0, 0.5).sum(axis=1), 1.0, rtol=1e-12)

    def test_the_two_agree_on_the_cls_row(self) -> None:
        rng = np.random.default_rng(72)
        q, k = rng.normal(size=(2, 4)), rng.normal(size=(2, 6, 4))
        every_query_is_cls = np.repeat(q[:, None], 6, axis=1)
        np.testing.assert_allclose(
            oracles.received_attention(every_query_is_cls, k, 1, 0.5),
            oracles.cls_attention(q, k, 0.5),
            rtol=1e-12,
        )

    def test_large_logits_do_not_overflow(self) -> None:
        keys = np.array([[[1000.0], [1001.0], [-1000.0]]])
        want = [[1.0 / (1.0 + math.exp(-1.0)), 0.0]]
        np.testing.assert_allclose(oracles.cls_attention([[1.0]], keys, 1.0), want, rtol=1e-14)

    def test_wrong_shapes(self) -> None:
        with pytest.raises(ValueError, match="expected q"):
            oracles.cls_attention(np.ones((2, 3)), np.ones((2, 5, 4)), 1.0)
        with pytest.raises(ValueError, match="one shape"):
            oracles.received_attention(np.ones((2, 5, 4)), np.ones((2, 6, 4)), 1, 1.0)
        with pytest.raises(ValueError, match="prefix 6"):
            oracles.received_attention(np.ones((2, 5, 4)), np.ones((2, 5, 4)), 6, 1.0)


class TestApportion:
    @pytest.mark.parametrize(
        ("total", "sizes", "want"),
        [
            (640, [576] * 3, [214, 213, 213]),
            (641, [576] * 3, [214, 214, 213]),
            (640, [576] * 5, [128] * 5),
            (0, [3, 4], [0, 0]),
            (7, [3, 4], [3, 4]),
            (2, [1, 1, 1], [1, 1, 0]),
            (10, [6, 0, 3], [7, 0, 3]),
            (5, [1, 2, 3], [1, 2, 2]),
            (0, [], []),
            (0, [0, 0], [0, 0]),
        ],
    )
    def test_known(self, total: int, sizes: list[int], want: list[int]) -> None:
        assert oracles.apportion(total, sizes) == want

    def test_sum_quota_and_capacity(self) -> None:
        rng = np.random.default_rng(80)
        for _ in range(300):
            sizes = rng.integers(0, 40, size=rng.integers(1, 7)).tolist()
            total = int(rng.integers(0, sum(sizes) + 1))
            got = oracles.apportion(total, sizes)
            assert sum(got) == total
            for share, size in zip(got, sizes, strict=True):
                assert 0 <= share <= size
                assert abs(share * sum(sizes) - total * size) < max(1, sum(sizes))

    def test_no_split_is_nearer_to_proportion(self) -> None:
        for sizes in ([1, 2, 3], [5, 5, 2], [4, 1, 1]):
            for total in range(sum(sizes) + 1):
                quota = [total * size / sum(sizes) for size in sizes]
                splits = [s for s in itertools.product(range(total + 1), repeat=3) if sum(s) == total]
                best = min(sum((a - b) ** 2 for a, b in zip(s, quota, strict=True)) for s in splits)
                got = oracles.apportion(total, sizes)
                assert sum((a - b) ** 2 for a, b in zip(got, quota, strict=True)) == pytest.approx(best)

    @pytest.mark.parametrize(("total", "sizes"), [(-1, [2]), (1, [0]), (1, []), (3, [4, -1])])
    def test_impossible(self, total: int, sizes: list[int]) -> None:
        with pytest.raises(ValueError, match="cannot split"):
            oracles.apportion(total, sizes)

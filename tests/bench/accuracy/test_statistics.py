"""Intervals and comparisons against slow, obvious ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from scope_bench.accuracy.statistics import Bootstrap, clear_of_zero, interval, sign_test, tiers


def answers(seed: int, groups: int = 30, difficulty: float = 1.0) -> tuple[list[str], np.ndarray]:
    """Clusters of 1 to 12 questions; some scenes are harder than others."""
    rng = np.random.default_rng(seed)
    clusters: list[str] = []
    correct: list[float] = []
    for group in range(groups):
        chance = 1 / (1 + math.exp(-rng.normal(0.5, difficulty)))
        for _ in range(rng.integers(1, 13)):
            clusters.append(f"scene {group}")
            correct.append(float(rng.random() < chance))
    return clusters, np.array(correct)


def naive(clusters: list[str], correct: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Draw scenes one by one, put their questions on a heap, take the mean."""
    rng = np.random.default_rng(seed)
    names = sorted(set(clusters))
    heaps = {name: correct[[cluster == name for cluster in clusters]] for name in names}
    return np.array([np.concatenate([heaps[n] for n in rng.choice(names, len(names))]).mean() for _ in range(draws)])


@pytest.mark.parametrize("seed", range(3))
def test_shares_against_drawing_scenes_one_by_one(seed: int) -> None:
    clusters, correct = answers(seed)
    found = Bootstrap(clusters, draws=20_000).shares(torch.tensor(correct)).numpy()
    wanted = naive(clusters, correct, 4_000, seed)
    assert found.mean() == pytest.approx(wanted.mean(), abs=0.004)
    assert found.std() == pytest.approx(wanted.std(), rel=0.06)
    for level in (0.5, 0.9, 0.95):
        assert interval(torch.tensor(found), level) == pytest.approx(
            tuple(np.quantile(wanted, [(1 - level) / 2, (1 + level) / 2])), abs=0.012
        )


def test_intervals_against_scipy_where_each_question_is_its_own_cluster() -> None:
    _, correct = answers(0)
    found = interval(Bootstrap([str(k) for k in range(len(correct))], draws=20_000).shares(torch.tensor(correct)))
    theirs = scipy.stats.bootstrap(
        (correct,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_clusters_widen_intervals() -> None:
    """Twelve copies of an answer are one answer."""
    rng = np.random.default_rng(0)
    once = (rng.random(60) < 0.6).astype(float)
    copies = np.repeat(once, 12)
    clusters = [str(k // 12) for k in range(len(copies))]
    few = interval(Bootstrap([str(k) for k in range(60)]).shares(torch.tensor(once)))
    many = interval(Bootstrap(clusters).shares(torch.tensor(copies)))
    blind = interval(Bootstrap([str(k) for k in range(len(copies))]).shares(torch.tensor(copies)))
    assert many == pytest.approx(few, abs=1e-9)
    assert many[1] - many[0] > 3 * (blind[1] - blind[0])


def test_differences_are_paired() -> None:
    """Two methods that differ in one scene alone: the interval of the difference is narrow, theirs are wide."""
    clusters, correct = answers(1, groups=60, difficulty=3)
    better = correct.copy()
    worse_at = int(np.flatnonzero(correct == 0)[0])
    better[worse_at] = 1
    boot = Bootstrap(clusters)
    one, other = boot.shares(torch.tensor(better)), boot.shares(torch.tensor(correct))
    low, high = interval(one - other)
    assert low >= 0
    assert high - low < 0.2 * (interval(one)[1] - interval(one)[0])
    assert not clear_of_zero(one - other)


def test_a_share_among_some_questions() -> None:
    clusters, correct = answers(2)
    among = torch.arange(len(correct)) % 3 == 0
    kept = [cluster for cluster, there in zip(clusters, among.tolist(), strict=True) if there]
    found = interval(Bootstrap(clusters).shares(torch.tensor(correct), among))
    wanted = np.quantile(naive(kept, correct[among.numpy()], 4_000, 0), [0.025, 0.975])
    assert found == pytest.approx(tuple(wanted), abs=0.03)


def test_draws_without_any_such_question_are_left_out() -> None:
    boot = Bootstrap(["a", "b", "c"], draws=500)
    shares = boot.shares(torch.ones(3), torch.tensor([True, False, False]))
    assert bool(shares.isnan().any())
    assert interval(shares) == (1.0, 1.0)
    assert all(map(math.isnan, interval(torch.tensor([math.nan]))))


def test_the_same_seed_gives_the_same_draws() -> None:
    clusters, correct = answers(0)
    first, again, other = (Bootstrap(clusters, draws=50, seed=s).shares(torch.tensor(correct)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_against_scipy(wins: int, losses: int) -> None:
    wanted = scipy.stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(wanted, rel=1e-9)


def test_true_differences_of_nothing_are_rarely_separated() -> None:
    """Coverage: of 200 experiments without any difference, about one in twenty is called separated."""
    rng = np.random.default_rng(0)
    calls = 0
    for _ in range(200):
        clusters = [str(k // 5) for k in range(200)]
        chance = np.repeat(rng.random(40), 5)
        one, other = (rng.random(200) < chance).astype(float), (rng.random(200) < chance).astype(float)
        boot = Bootstrap(clusters, draws=600, seed=int(rng.integers(1 << 30)))
        calls += clear_of_zero(boot.shares(torch.tensor(one)) - boot.shares(torch.tensor(other)))
    assert 1 <= calls <= 25


def test_more_comparisons_ask_for_more() -> None:
    draws = torch.linspace(-0.002, 1, 1000)  # 0.2% of the draws are at or below zero
    assert clear_of_zero(draws)
    assert clear_of_zero(-draws)
    assert not clear_of_zero(draws, 100)


def test_tiers() -> None:
    """Points; a gap of more than two separates."""
    points = {"a": 10, "b": 9, "c": 8, "d": 7, "e": 3}
    assert tiers(list(points), lambda x, y: abs(points[x] - points[y]) > 2) == [["a", "b", "c"], ["d"], ["e"]]
    assert tiers(["only"], lambda x, y: True) == [["only"]]
    assert tiers([], lambda x, y: True) == []

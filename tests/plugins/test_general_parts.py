"""Parts that any recipe can use: scaled and blended sources and similarities, places, balances, approximate greedy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import offers
import oracles
import oracles_sets
import pytest
import torch
from conftest import Photos
from fakes import built, random_case
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout, VisualTokens

REGISTRY = scope.default_registry()


def score(source: Any, tokens: VisualTokens) -> np.ndarray:
    values: np.ndarray = built(REGISTRY, "saliency", source).score(tokens).numpy()
    return values


def pairwise(metric: Any, tokens: VisualTokens) -> np.ndarray:
    matrix: np.ndarray = built(REGISTRY, "similarity", metric).pairwise(tokens).numpy()
    return matrix


def clip_tokens(values: list[float], valid: list[bool] | None = None) -> VisualTokens:
    """One group whose text relevance is ``values``."""
    given_ = torch.tensor(values, dtype=torch.float64)[None, None]
    mask = None if valid is None else torch.tensor([valid])
    features = torch.ones(1, len(values), 2, dtype=torch.float64)
    return VisualTokens.of(features, valid=mask, signals={"clip.text_similarity": given_})


POSITIVE = {"name": "text_relevance", "sign": "positive"}


class TestScaled:
    @given(
        st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.sampled_from(["min_max", "rank", "max", "sum", "mean"])
    )
    def test_by_the_formula(self, numbers: list[int], scale: str) -> None:
        values = [number / 4 or 0.125 for number in numbers]
        low, high, total = min(values), max(values), math.fsum(values)
        spec = {"name": "scaled", "of": POSITIVE, "scale": scale}
        if {"max": high, "sum": total, "mean": total}.get(scale, 0) < 0:  # the order of tokens would be turned around
            with pytest.raises(scope.TokensError, match=f"cannot be divided by its {scale}"):
                score(spec, clip_tokens(values))
            return
        got = score(spec, clip_tokens(values))[0]
        for value, mine in zip(values, got, strict=True):
            below, equal = sum(v < value for v in values), values.count(value)
            want = {
                "min_max": (value - low) / (high - low) if high > low else 1.0,
                "rank": (below + (equal - 1) / 2) / (len(values) - 1) if len(values) > 1 else 1.0,
                "max": value / high if high else value,
                "sum": value / total if total else value,
                "mean": value / (total / len(values)) if total else value,
            }[scale]
            assert mine == pytest.approx(want, abs=1e-12)

    @pytest.mark.parametrize("scale", ["min_max", "rank", "max", "sum", "mean"])
    def test_padding_is_left_out(self, scale: str) -> None:
        spec = {"name": "scaled", "of": POSITIVE, "scale": scale}
        alone = score(spec, clip_tokens([0.5, 0.25, 0.75]))
        beside = score(spec, clip_tokens([0.5, 0.25, 9.0, 0.75], [True, True, False, True]))
        np.testing.assert_allclose(alone[0], beside[0, [0, 1, 3]])
        assert np.isfinite(beside).all()

    def test_over_the_call(self) -> None:
        tokens = VisualTokens.of(
            torch.ones(2, 2, 1), signals={"clip.text_similarity": torch.tensor([[[1.0, 2]], [[3, 5]]])}
        )
        spec = {"name": "scaled", "of": POSITIVE, "over": "call", "offset": 0.5}
        np.testing.assert_allclose(score(spec, tokens), [[0.5 / 4, 1.5 / 4], [2.5 / 4, 4.5 / 4]])

    def test_options_that_exclude_each_other(self) -> None:
        with pytest.raises(scope.SpecError, match="offset is an option of scale: min_max"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "scaled", "scale": "rank", "offset": 1}})

    def test_given_saliency_stands_in_for_the_source_inside(self) -> None:
        features, saliency = random_case(1, 12)
        spec = {
            "recipe": "scope",
            "saliency": {"name": "scaled", "scale": "rank"},
            "combiner": "saliency_only",
            "budget": 4,
        }
        assert scope.select(features, saliency=saliency, spec=spec).picks.equal(saliency.topk(4).indices)


class TestBlend:
    def test_sums_products_and_extremes(self) -> None:
        tokens = clip_tokens([1.0, 2.0, 4.0])
        norm = np.full(3, math.sqrt(2))
        one = np.array([1.0, 2, 4])
        for how, want in {
            "sum": 0.5 * one + 3 * norm,
            "product": one**0.5 * norm**3,
            "max": np.maximum(0.5 * one, 3 * norm),
            "min": np.minimum(0.5 * one, 3 * norm),
        }.items():
            spec = {"name": "blend", "of": [POSITIVE, "feature_norm"], "weights": [0.5, 3], "how": how}
            np.testing.assert_allclose(score(spec, tokens)[0], want)

    def test_scale_comes_first(self) -> None:
        spec = {"name": "blend", "of": [POSITIVE, "uniform"], "scale": "max"}
        np.testing.assert_allclose(score(spec, clip_tokens([1.0, 2.0, 4.0]))[0], [1.25, 1.5, 2])

    def test_a_product_refuses_negative_scores(self) -> None:
        spec = {"name": "blend", "of": [POSITIVE, "uniform"], "how": "product"}
        with pytest.raises(scope.TokensError, match=r"'text_relevance'.* gave -0.5 to image 0, token 1"):
            score(spec, clip_tokens([1.0, -0.5]))

    def test_whether_scores_can_be_negative_follows_from_the_sources(self) -> None:
        def nonnegative(**options: Any) -> bool:
            return bool(built(REGISTRY, "saliency", {"name": "blend", **options}).nonnegative)

        assert nonnegative(of=["feature_norm", "uniform"])
        assert not nonnegative(of=["feature_norm", POSITIVE])
        assert not nonnegative(of=["feature_norm", "uniform"], weights=[1, -1])
        assert nonnegative(of=[POSITIVE], scale="min_max")
        assert built(REGISTRY, "saliency", {"name": "scaled", "of": POSITIVE}).nonnegative
        assert not built(REGISTRY, "saliency", {"name": "scaled", "of": POSITIVE, "scale": "max"}).nonnegative

    def test_one_weight_each(self) -> None:
        with pytest.raises(scope.SpecError, match="one weight per source: 1 sources"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "blend", "of": ["uniform"], "weights": [1, 2]}})
        with pytest.raises(scope.SpecError, match=r"saliency.of"):
            scope.Pruner({"recipe": "scope", "saliency": {"name": "blend", "of": []}})

    def test_needs_reach_the_pruner(self) -> None:
        spec = {"recipe": "scope", "saliency": {"name": "blend", "of": ["cls_attention", "text_relevance"]}}
        assert scope.Pruner(spec).needs == {"vision.cls_attention[-2]", "clip.text_similarity"}


class TestTextRelevance:
    def test_sign_chunks_and_padding(self) -> None:
        chunks = torch.tensor([[[0.1, 0.4], [0.3, 0.2], [0.0, 0.0]], [[0.0, 0.0]] * 3])  # the last of each is padding
        tokens = VisualTokens.of(torch.ones(2, 2, 1), signals={"clip.text_similarity": chunks})
        np.testing.assert_allclose(score("text_relevance", tokens), [[-0.2, -0.3], [0, 0]], atol=1e-7)
        np.testing.assert_allclose(score(POSITIVE, tokens), [[0.2, 0.3], [0, 0]], atol=1e-7)
        np.testing.assert_allclose(score({**POSITIVE, "chunks": "max"}, tokens), [[0.3, 0.4], [0, 0]], atol=1e-7)

    def test_one_chunk_per_patch_of_another_image_is_refused(self) -> None:
        with pytest.raises(scope.TokensError, match=r"clip.text_similarity"):
            scope.select(torch.ones(4, 2), signals={"clip.text_similarity": torch.ones(1, 1, 5)}, spec="cdpruner@2")


def test_key_norm() -> None:
    keys = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = VisualTokens.of(torch.ones(2, 5, 2, dtype=torch.float64), signals={"decoder.keys[2]": keys})
    for order in (1.0, 2.0, 3.0):
        each = (keys.abs() ** order).sum(3) ** (1 / order)  # (B, H, N)
        for heads, want in {
            "concat": (keys.abs() ** order).sum((1, 3)) ** (1 / order),
            "mean": each.mean(1),
            "sum": each.sum(1),
        }.items():
            got = score({"name": "key_norm", "of": "decoder.keys[2]", "order": order, "heads": heads}, tokens)
            np.testing.assert_allclose(got, want)
    with pytest.raises(scope.SpecError, match="is not a signal name"):
        scope.Pruner({"recipe": "scope", "saliency": {"name": "key_norm", "of": "Keys!"}})


class TestSimilarities:
    def tokens(self, count: int = 12, grid: tuple[int, int] = (3, 4)) -> VisualTokens:
        rng = np.random.default_rng(0)
        signals = {
            "vision.hidden[-2]": torch.tensor(rng.normal(size=(1, count, 5))),
            "vision.keys[-2]": torch.tensor(rng.normal(size=(1, 3, count, 4))),
        }
        return VisualTokens.of(torch.tensor(rng.normal(size=(1, count, 6))), grid=grid, signals=signals)

    def test_cosines_of_signals(self) -> None:
        tokens = self.tokens()
        hidden, keys = (tokens.signals[name][0].numpy() for name in ("vision.hidden[-2]", "vision.keys[-2]"))
        for metric, vectors in (
            ("signal_cosine", hidden),
            ("keys_cosine", keys.mean(0)),
            ({"name": "keys_cosine", "heads": "concat"}, keys.transpose(1, 0, 2).reshape(12, -1)),
        ):
            got = pairwise(metric, tokens)[0]
            np.testing.assert_allclose(got, oracles.cosine_matrix(vectors), atol=1e-14)
            assert (got == got.T).all()
            assert (got.diagonal() == 1).all()
        assert built(REGISTRY, "similarity", {"name": "signal_cosine", "of": "projected"}).needs == {"projected"}

    def test_a_signal_of_another_shape_is_refused(self) -> None:
        with pytest.raises(scope.TokensError, match="expected one vector per token"):
            pairwise({"name": "signal_cosine", "of": "vision.keys[-2]"}, self.tokens())

    @pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
    def test_spatial(self, kernel: str) -> None:
        got = pairwise({"name": "spatial", "scale": 1.5, "kernel": kernel}, self.tokens())[0]
        for i in range(12):
            for j in range(12):
                d = math.dist(divmod(i, 4), divmod(j, 4))
                want = math.exp(-(d**2) / (2 * 1.5**2)) if kernel == "gaussian" else math.exp(-d / 1.5)
                assert got[i, j] == pytest.approx(want, abs=1e-14)
        assert np.linalg.eigvalsh(got).min() > -1e-10  # what log_det asks for

    def test_places_of_other_tiles_are_not_near(self) -> None:
        tile = torch.tensor([[0, 0, 1, 1]])
        place = torch.tensor([[0, 1, 0, 1]])
        tokens = VisualTokens.of(torch.ones(1, 4, 2), row=place, col=place, tile=tile)
        assert (pairwise("spatial", tokens)[0, :2, 2:] == 0).all()
        with pytest.raises(scope.TokensError, match="has none; pass grid="):
            pairwise("spatial", VisualTokens.of(torch.ones(1, 4, 2)))

    @pytest.mark.parametrize("joint", [False, True])
    def test_row_softmax(self, joint: bool) -> None:
        tokens = self.tokens()
        want = oracles_sets.softmax_rows(oracles.cosine_matrix(tokens.features[0].numpy()), 0.3) / (12 if joint else 1)
        got = pairwise({"name": "row_softmax", "of": "cosine", "temperature": 0.3, "joint": joint}, tokens)
        np.testing.assert_allclose(got[0], want, atol=1e-14)
        assert got.sum() == pytest.approx(1 if joint else 12)
        valid = torch.tensor([[True] * 9 + [False] * 3])
        padded = VisualTokens.of(tokens.features, valid=valid)
        part = pairwise({"name": "row_softmax", "temperature": 0.3, "joint": joint}, padded)
        want = oracles_sets.softmax_rows(oracles.cosine_matrix(tokens.features[0, :9].numpy()), 0.3) / (
            9 if joint else 1
        )
        np.testing.assert_allclose(part[0, :9, :9], want, atol=1e-14)
        assert (part[0, 9:] == 0).all()

    def test_nonnegative(self) -> None:
        tokens = self.tokens()
        cosine = pairwise("cosine", tokens)
        np.testing.assert_array_equal(pairwise("without_negatives", tokens), np.maximum(cosine, 0))
        np.testing.assert_allclose(pairwise({"name": "without_negatives", "how": "shift"}, tokens), (1 + cosine) / 2)
        assert built(REGISTRY, "similarity", "without_negatives").symmetric
        assert not built(REGISTRY, "similarity", {"name": "without_negatives", "of": "row_softmax"}).symmetric

    def test_blend(self) -> None:
        tokens = self.tokens()
        near, cosine = pairwise("spatial", tokens), pairwise("cosine", tokens)
        mixed = pairwise({"name": "blend", "of": ["spatial", "cosine"], "weights": [1, 3]}, tokens)
        np.testing.assert_allclose(mixed, (near + 3 * cosine) / 4)
        np.testing.assert_allclose(
            pairwise({"name": "blend", "of": ["spatial", "cosine"]}, tokens), (near + cosine) / 2
        )
        both = {"name": "blend", "of": ["spatial", "cosine"], "how": "product"}
        np.testing.assert_allclose(pairwise(both, tokens), near * cosine)
        for wrong in ({"weights": [1]}, {"weights": [0, 0]}, {"weights": [1, 1], "how": "product"}):
            with pytest.raises(scope.SpecError, match="one weight per similarity of a sum"):
                scope.Pruner({"recipe": "scope", "similarity": {"name": "blend", "of": ["spatial", "cosine"], **wrong}})


class TestCombiners:
    def test_balance(self) -> None:
        combiner = built(REGISTRY, "combiner", {"name": "balance", "share": 0.25})
        tokens = VisualTokens.of(torch.ones(1, 3, 2))
        gain, saliency = torch.tensor([[1.0, -2, 3]]), torch.tensor([[-4.0, 0, 8]])
        prepared = combiner.prepare(saliency, tokens)
        want = 0.25 * saliency + 0.75 * gain
        assert combiner.combine(gain, prepared).equal(want)
        scale, offset = combiner.affine(prepared)
        assert (gain * scale + offset).equal(want)

    def test_kernel_conditions_the_similarity(self) -> None:
        combiner = built(REGISTRY, "combiner", "kernel")
        S, r = torch.randn(1, 4, 4), torch.tensor([[1.0, 2, 3, 4]])
        torch.testing.assert_close(combiner.condition(S, r), S * r[:, :, None] * r[:, None, :])
        assert combiner.combine(S[:, 0], r).equal(S[:, 0])

    def test_kernel_refuses_negative_weights(self) -> None:
        features = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
        spec = {"recipe": "cdpruner", "saliency": "text_relevance", "budget": 2}
        signals = {"clip.text_similarity": torch.full((1, 1, 6), 0.2)}
        with pytest.raises(scope.TokensError, match="needs saliency of at least 0"):
            scope.select(features, signals=signals, spec=spec)
        spec["combiner"] = {"name": "kernel", "theta": 0.5}
        assert scope.select(features, signals=signals, spec=spec).counts == (2,)


class TestApproximateGreedy:
    def test_one_per_step_is_greedy_and_all_at_once_is_top_k(self, photo_features: Photos) -> None:
        features, saliency = photo_features.features, photo_features.saliency
        for step, optimizer in ((1, "greedy"), (40, "top_k")):
            spec = {"recipe": "scope", "optimizer": {"name": "k_per_step", "step": step}, "budget": 40}
            got = scope.select(features, saliency=saliency, spec=spec)
            want = scope.select(features, saliency=saliency, spec={**spec, "optimizer": optimizer})
            assert got.picks.equal(want.picks)
            torch.testing.assert_close(got.gains.double(), want.gains.double())

    def test_several_per_step_against_an_obvious_loop(self) -> None:
        features, saliency = random_case(1, 30, seed=5)
        spec = {"recipe": "scope", "optimizer": {"name": "k_per_step", "step": 4}, "budget": 10}
        S, a = oracles.cosine_matrix(features[0].numpy()), saliency[0].double().numpy()
        wanted: list[int] = []
        while len(wanted) < 10:
            f = oracles_sets.facility_location(S, wanted)
            gain = [(oracles_sets.facility_location(S, [*wanted, j]) - f) * a[j] for j in range(30)]
            left = [j for j in oracles.top_k_picks(gain, 30) if j not in wanted]
            wanted += left[: min(4, 10 - len(wanted))]
        assert scope.select(features, saliency=saliency, spec=spec).picks[0].tolist() == wanted

    def test_stochastic_is_seeded_and_padding_changes_nothing(self) -> None:
        features, saliency = random_case(2, 40, seed=6)
        spec = {"recipe": "scope", "optimizer": {"name": "stochastic", "seed": 3}, "budget": 8}
        once = scope.select(features, saliency=saliency, spec=spec).picks
        assert once.equal(scope.select(features, saliency=saliency, spec=spec).picks)
        assert once[1:].equal(scope.select(features[1:], saliency=saliency[1:], spec=spec).picks)
        other = {**spec, "optimizer": {"name": "stochastic", "seed": 4}}
        assert not once.equal(scope.select(features, saliency=saliency, spec=other).picks)
        wide, more = torch.cat([features, features], 1), torch.cat([saliency, saliency], 1)
        valid = torch.arange(80).expand(2, 80) < 40
        assert once.equal(scope.Pruner(spec).select(wide, saliency=more, valid=valid).picks)

    def test_a_sample_of_everything_is_greedy(self) -> None:
        features, saliency = random_case(1, 30, seed=7)
        spec = {"recipe": "scope", "budget": 9, "optimizer": {"name": "stochastic", "epsilon": 1e-6}}
        greedy = scope.select(features, saliency=saliency, spec="scope@9").picks
        assert scope.select(features, saliency=saliency, spec=spec).picks.equal(greedy)

    def test_stochastic_covers_nearly_as_much(self, photo_features: Photos) -> None:
        spec = {"recipe": "coverage_only", "budget": 32}
        exact = scope.select(photo_features.features, spec=spec).gains.sum(1)
        sampled = scope.select(photo_features.features, spec={**spec, "optimizer": "stochastic"}).gains.sum(1)
        assert (sampled >= 0.9 * exact).all()
        assert (sampled <= exact * 1.01).all()

    @pytest.mark.parametrize("optimizer", ["stochastic", {"name": "k_per_step", "step": 3}])
    def test_required_tokens_come_first(self, optimizer: Any) -> None:
        features, saliency = random_case(1, 12)
        spec = {
            "recipe": "scope",
            "optimizer": optimizer,
            "budget": 5,
            "constraints": [{"name": "cells", "keep": [[2, 3], [0, 1]]}],
        }
        got = scope.select(features, saliency=saliency, grid=(3, 4), spec=spec)
        assert set(got.picks[0, :2].tolist()) == {1, 11}
        assert got.counts == (5,)


class TestFrames:
    def test_first_frames(self) -> None:
        image = torch.tensor([[3, 3, 4, 4, 5, 5, -1]])
        tile = torch.tensor([[0, 1, 0, 0, 0, 0, -1]])
        valid = image >= 0
        tokens = VisualTokens.of(torch.ones(1, 7, 2), image=image, tile=tile, valid=valid)

        def kept(**options: Any) -> list[int]:
            mask = built(REGISTRY, "constraint", {"name": "first_frame", **options}).must_keep(tokens)
            places: list[int] = mask[0].nonzero().flatten().tolist()
            return places

        assert kept() == [0, 1]
        assert kept(count=2) == [0, 1, 2, 3]
        assert kept(count=9) == [0, 1, 2, 3, 4, 5]
        assert kept(frame="tile") == [0]
        assert kept(frame="tile", count=2) == [0, 1]

    @given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 100))
    def test_the_budget_is_the_first_frame_at_the_least(self, frames: list[int], percent: int) -> None:
        spec = {"recipe": "evs", "budget": percent / 100}
        plan = scope.Pruner(spec).plan(Layout.of(frames))
        assert plan.counts == (max(frames[0], sum(frames) * percent // 100),)

    def test_tiles_as_frames(self) -> None:
        spec = {"recipe": "evs", "partition": "image", "budget": {"keep_ratio": 0.1, "frame": "tile"}}
        assert scope.Pruner(spec).plan(Layout.of([[7, 50], [30]])).counts == (7, 30)


def test_a_negative_sum_does_not_hide_negative_scores() -> None:
    features, saliency = random_case(1, 12)
    spec = {"recipe": "scope", "combiner": {"name": "sum", "normaliser": "max"}, "budget": 3}
    with pytest.raises(scope.TokensError, match="needs saliency of at least 0"):
        scope.select(features, saliency=-saliency - 0.1, spec=spec)


def test_variance_does_not_look_at_padding() -> None:
    features, _ = random_case(1, 12)
    features[0, 0] = torch.nan
    valid = torch.arange(12)[None] > 0
    spec = {"saliency": "similarity_variance", "combiner": "saliency_only", "coverage": "modular", "budget": 3}
    alone = scope.select(features[:, 1:], spec=spec).picks + 1
    assert scope.select(features, valid=valid, spec=spec).picks.equal(alone)


@offers.half_products
def test_determinants_of_tokens_without_weight_in_half_precision() -> None:
    """The square of a small weight underflows in half precision, and its product with another weight does not."""
    features, _ = random_case(1, 12)
    relevance = torch.linspace(0, 1, 12).half()[None]
    scaled = {"name": "scaled", "offset": 1e-6, "of": "cls_attention"}
    spec = {"recipe": "scope", "saliency": scaled, "coverage": "log_det", "combiner": "kernel", "dtype": "as_is"}
    got = scope.select(features.half(), saliency=relevance, spec={**spec, "budget": 4})
    assert got.counts == (4,)


def test_a_default_device_elsewhere_does_not_matter() -> None:
    features, saliency = random_case(1, 12)
    draws = {"saliency": "random", "optimizer": "stochastic"}
    for spec in ({"recipe": "scope", "budget": 4}, {"recipe": "scope", "budget": 4, **draws}):
        wanted = scope.select(features, saliency=saliency, spec=spec).picks
        with torch.device("meta"):
            assert scope.select(features, saliency=saliency, spec=spec).picks.equal(wanted)


def test_grid_spreads_over_every_image_of_a_prompt() -> None:
    layout = Layout.of([16, 16])
    spec = {"recipe": "uniform_grid", "partition": "prompt", "budget": {"name": "tokens", "keep": 8, "per": "total"}}
    together = scope.select(torch.ones(2, 16, 4), grid=(4, 4), layout=layout, spec=spec)
    apart = scope.select(torch.ones(2, 16, 4), grid=(4, 4), spec="uniform_grid@4")
    assert together.kept.equal(apart.kept)

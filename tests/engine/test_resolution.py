"""Numbers too small or too large for a dtype pick as float64 does, or are refused by name: never by index."""

from __future__ import annotations

import re
from typing import Any

import offers
import pytest
import torch

import scope_core as scope
from scope_core import ScopeError, TokensError

N, D, K = 24, 16, 8
generator = torch.Generator().manual_seed(0)
FEATURES = torch.randn(1, N, D, generator=generator, dtype=torch.float64) + torch.ones(D, dtype=torch.float64)
SALIENCY = (torch.rand(1, N, generator=generator, dtype=torch.float64) ** 3 + 0.01).sort().values
"""The least salient first: picks by index are the worst."""

RECIPES: dict[str, dict[str, Any]] = {
    **{f"product {a:g}": {"combiner": {"name": "product", "alpha": a}} for a in (0.1, 1.0, 4.0, 16.0)},
    **{f"sum {a:g}": {"combiner": {"name": "sum", "alpha": a}} for a in (0.1, 1.0, 16.0)},
    **{f"sum / {n}": {"combiner": {"name": "sum", "normaliser": n}} for n in ("max", "sum", "mean")},
    "saliency": {"combiner": "saliency_only"},
    "kernel": {"combiner": "kernel", "coverage": "log_det"},
    "dot": {"combiner": "coverage_only", "similarity": "dot"},
    "max_min of dot": {"combiner": "coverage_only", "similarity": "dot", "coverage": "max_min"},
    "cosine": {"combiner": "coverage_only"},
    "norms": {"saliency": "feature_norm", "combiner": "saliency_only"},
    **{
        f"norms / {scale}": {
            "saliency": {"name": "scaled", "of": "feature_norm", "scale": scale},
            "combiner": "saliency_only",
        }
        for scale in ("max", "sum", "mean", "min_max", "rank")
    },
}
SCALES = (1e-38, 1e-30, 1e-20, 1e-10, 1e-6, 1.0, 1e3, 1e10, 1e20, 1e30, 1e37)


def picked(features: torch.Tensor, saliency: torch.Tensor, recipe: dict[str, Any], keep: int = K) -> list[int]:
    spec = {"saliency": "cls_attention", "similarity": "cosine", "coverage": "facility_location", **recipe}
    chosen = scope.select(features, saliency=saliency, spec={**spec, "budget": keep, "dtype": "as_is"})
    return chosen.picks[0].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", RECIPES)
def test_scales_and_dtypes(name: str, dtype: torch.dtype) -> None:
    try:
        torch.ones(1, 2, 2, dtype=dtype) @ torch.ones(1, 2, 2, dtype=dtype)
    except RuntimeError:
        pytest.skip(f"this torch multiplies no {dtype} on CPUs")
    tried = refused = 0
    for scale in SCALES:
        for features, saliency in ((FEATURES * scale, SALIENCY), (FEATURES, SALIENCY * scale)):
            given = features.to(dtype), saliency.to(dtype)
            if not all(bool(torch.isfinite(each).all()) and len(each.unique()) > N / 2 for each in given):
                continue  # the numbers are gone before selection
            tried += 1
            try:
                found = picked(*given, RECIPES[name])
            except ScopeError:
                refused += 1
                continue
            wanted = picked(given[0].double(), given[1].double(), RECIPES[name])
            assert len(set(found) & set(wanted)) >= K - 3, (scale, found, wanted)  # a few differ by rounding
    assert refused < tried


@pytest.mark.parametrize("path", ["loop", "auto"])
def test_powers_that_underflow_are_computed_in_float64(path: str) -> None:
    """The sixteenth power of 1e-6 is 1e-96."""
    recipe = {"combiner": {"name": "product", "alpha": 16.0}, "optimizer": {"name": "greedy", "path": path}}
    small = SALIENCY.float() * 1e-6
    found = picked(FEATURES.float(), small, recipe)
    assert found == picked(FEATURES, small.double(), recipe)
    assert found == picked(FEATURES, SALIENCY, recipe)


def test_powers_of_another_range_are_refused() -> None:
    uneven = torch.logspace(-38, 0, N, dtype=torch.float32)[None]
    with pytest.raises(TokensError, match=r"combiner 'product'.*saliency 1e-38 of image 0, token 0 to the power of 16"):
        picked(FEATURES.float(), uneven, {"combiner": {"name": "product", "alpha": 16.0}})


def test_scores_that_only_float64_tells_apart_are_refused() -> None:
    tiny = FEATURES.float() * 1e-25
    with pytest.raises(
        TokensError, match=r"similarity 'dot'.*: products of image 0 are at most 0, below 1.175e-38.*float64"
    ):
        picked(tiny, SALIENCY.float(), RECIPES["dot"])
    with pytest.raises(TokensError, match=r"every token has score 1 in float32.*in float64 scores differ"):
        picked(FEATURES.float() * 1e-5, SALIENCY.float(), RECIPES["max_min of dot"])


def test_scores_that_are_equal_are_picked_by_index() -> None:
    """One-hot features, equal saliency, no saliency at all, copies of one token."""
    ones, zeros = torch.ones(1, N), torch.zeros(1, N)
    hot, same = torch.eye(N)[None], FEATURES.float()[:, :1].expand(1, N, D)
    for features, saliency in ((hot, ones), (hot, zeros), (same, ones), (same, zeros)):
        for name in ("product 4", "saliency", "cosine"):
            assert picked(features, saliency, RECIPES[name]) == list(range(K))
    for name in ("product 4", "saliency"):  # different tokens, which saliency alone makes equal
        assert picked(FEATURES.float(), zeros, RECIPES[name]) == list(range(K))


def test_scores_that_never_change_and_differ_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame of a video: its tokens are equal, and others are not."""
    monkeypatch.setattr("scope_core.engine.resolution._scores", None)
    saliency = torch.ones(1, N)
    saliency[0, 2:] = 0.5
    assert picked(FEATURES.float(), saliency, RECIPES["saliency"]) == list(range(K))


def test_optimizers_that_pick_by_place_are_not_asked_for_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scope_core.engine.resolution._scores", None)
    for name in ("stride", "grid"):
        spec = {
            "saliency": "uniform",
            "coverage": "modular",
            "combiner": "coverage_only",
            "optimizer": name,
            "budget": K,
        }
        assert scope.select(FEATURES.float(), spec=spec, grid=(1, N)).counts == (K,)
    with pytest.raises(TypeError):
        scope.select(FEATURES.float(), spec={**spec, "optimizer": "greedy"})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("similarity", ["cosine", "without_negatives"])
@pytest.mark.parametrize("coverage", ["max_min", "facility_location"])
def test_tokens_that_are_all_the_same_are_kept_by_index(coverage: str, similarity: str, seed: int) -> None:
    """A blank image: every token is as good as any other, and what differs in float64 is rounding."""
    one = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(seed)).expand(1, 16, 64)
    for combiner in ("coverage_only", "product"):
        spec = {"coverage": coverage, "similarity": similarity, "combiner": combiner, "recipe": "scope", "budget": 5}
        assert scope.select(one, saliency=torch.full((1, 16), 1 / 16), spec=spec).picks[0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("coverage", ["saturated", "facility_location", "redundancy", "max_min", "graph_cut"])
def test_every_coverage_in_every_dtype(coverage: str) -> None:
    """Similarities of any scale and kind: float64's picks, or a refusal; noise is no gain in half precision."""
    ran = 0
    for similarity in ("cosine", "dot", {"name": "row_softmax", "of": "dot"}, "spatial"):
        given: dict[str, Any] = {"coverage": coverage, "similarity": similarity, "combiner": "coverage_only"}
        if coverage in ("saturated", "graph_cut") and similarity in ("cosine", "dot"):
            given["similarity"] = {"name": "without_negatives", "of": similarity}
        for dtype in (torch.float32, torch.bfloat16):
            for scale in (1e-38, 1e-30, 1e-10, 1e-3, 1.0):
                tokens = [
                    scope.VisualTokens.of((FEATURES * scale).to(dtype).to(kind), grid=(4, 6))
                    for kind in (dtype, torch.float64)
                ]
                spec = {"saliency": "uniform", **given, "budget": K, "dtype": "as_is"}
                try:
                    found = set(scope.Pruner(spec).prune(tokens[0], scope.Layout.of([N])).picks[0].tolist())
                except TokensError:
                    continue
                wanted = set(scope.Pruner(spec).prune(tokens[1], scope.Layout.of([N])).picks[0].tolist())
                assert len(found & wanted) >= K - 3, (similarity, dtype, scale, found, wanted)
                ran += 1
    assert ran >= 15


def test_similarities_too_small_beside_what_they_are_subtracted_from() -> None:
    """1 - 1e-20 is 1, in float64 as well."""
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(TokensError, match=r"similarities of at most .*e-\d+ are too small .*coverage 'max_min'"):
            picked((FEATURES * 1e-10).to(dtype), SALIENCY.to(dtype), RECIPES["max_min of dot"])


def test_shares_that_a_softmax_makes_equal_are_refused() -> None:
    recipe = {"similarity": {"name": "row_softmax", "of": "dot"}, "combiner": "coverage_only"}
    with pytest.raises(TokensError, match=r"similarity 'row_softmax'.*image 0 are between .* in float32: all tokens"):
        picked(FEATURES.float() * 1e-6, SALIENCY.float(), recipe)
    same = FEATURES.float()[:, :1].expand(1, N, D)
    assert picked(same, SALIENCY.float(), recipe) == list(range(K))


@pytest.mark.parametrize("recipe", ["scope", "top_k_attention", "divprune", "prumerge_plus@official"])
def test_numbers_lost_in_conversion_are_refused(recipe: str) -> None:
    needs = [name for name in scope.Pruner(recipe).needs if "attention" in name]
    signals = {name: SALIENCY if "joint" in name else SALIENCY[:, None] for name in needs}
    signals |= {name: FEATURES[:, None] for name in scope.Pruner(recipe).needs if "keys" in name}
    spec = {"recipe": recipe, "budget": K, "dtype": "float32"}
    with pytest.raises(
        TokensError, match=r"features has numbers of at most .*e-5\d, too small for float32: set `dtype:"
    ):
        scope.select(FEATURES * 1e-50, signals=signals, grid=(4, 6), spec=spec)
    for name, value in signals.items():
        with pytest.raises(TokensError, match=rf"signal '{re.escape(name)}' has numbers of at most .*e-5\d, too small"):
            scope.select(FEATURES, signals={**signals, name: value * 1e-50}, grid=(4, 6), spec=spec)
    padded = torch.cat([FEATURES * 1e-50, FEATURES], 1)
    with pytest.raises(TokensError, match="features has numbers"):
        scope.select(padded, valid=torch.arange(2 * N)[None] < N, saliency=torch.ones(1, 2 * N), spec="scope@4")


def test_saliency_that_has_lost_digits_is_refused() -> None:
    for name in ("saliency", "cosine", "product 1"):
        if name != "cosine":
            with pytest.raises(TokensError, match=r"given saliency is at most .*e-4\d, below 1.175e-38"):
                picked(FEATURES.float(), SALIENCY.float() * 1e-40, RECIPES[name])
    alone = (SALIENCY[:, None] * 1e-30).expand(1, 4, N).float()  # CLS attends to itself
    with pytest.raises(TokensError, match=r"saliency 'joint_attention'.*CLS of image 0, token 0 and its tile attends"):
        scope.select(
            FEATURES.float(), signals={"vision.cls_attention[-2]": alone}, spec=spec_of("joint_attention"), grid=(4, 6)
        )


def spec_of(saliency: str) -> dict[str, Any]:
    return {"recipe": "top_k_attention", "saliency": saliency, "budget": K}


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e37])
def test_pivots_are_compared_at_any_scale(scale: float) -> None:
    states = torch.randn(1, N, D, generator=torch.Generator().manual_seed(1))
    spec = {"selector": {"name": "pivots", "saliency": "feature_norm", "text_pivots": 0, "states": 1}, "budget": K}

    def kept(factor: float) -> list[int]:
        signals = {"decoder.hidden[1]": states * factor}
        return scope.select(FEATURES.float(), signals=signals, spec=spec).picks[0].tolist()

    assert kept(scale) == kept(1.0)


@offers.half_products
def test_merged_rows_that_overflow_are_refused() -> None:
    """Weights by the norms of features, as knn has them, in half precision."""
    features = FEATURES.half() * 200
    merger = {"name": "knn", "similarity": "cosine", "saliency": "feature_norm", "neighbours": 4}
    for normalise in (True, False):
        spec = {"recipe": "saliency_only", "saliency": "feature_norm", "budget": K, "dtype": "as_is"}
        selection = scope.select(features, spec={**spec, "merger": {**merger, "normalise": normalise}})
        if normalise:
            assert torch.isfinite(selection.merge(features)).all()
            continue
        with pytest.raises(TokensError, match=r"merging leaves the range of float16: weights of the merger are up to"):
            selection.merge(features)
        infinite = features.masked_fill(features > 0, torch.inf)
        assert not torch.isfinite(selection.merge(infinite)).any(), "as it was before"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"similarity": {"name": "blend", "of": ["cosine", "dot"], "weights": [1e308, 1e308]}},
            "less than or equal to",
        ),
        (
            {"similarity": {"name": "blend", "of": ["cosine", "dot"], "weights": [1e-320, 1]}},
            "weights must be 0 or from",
        ),
        (
            {"saliency": {"name": "blend", "of": ["uniform"], "how": "product", "weights": [1e-320]}},
            "weights must be 0",
        ),
        ({"similarity": {"name": "row_softmax", "of": "cosine", "temperature": 1e-320}}, "temperature"),
        ({"coverage": {"name": "text_facility_location", "temperature": 1e-320}}, "temperature"),
    ],
)
@pytest.mark.parametrize("path", ["loop", "auto"])
def test_options_that_leave_no_scores_are_refused(parts: dict[str, Any], words: str, path: str) -> None:
    with pytest.raises(scope.SpecError, match=words):
        picked(FEATURES.float(), SALIENCY.float(), {**parts, "optimizer": {"name": "greedy", "path": path}})


def test_the_smallest_epsilon_samples_all() -> None:
    stochastic = {"optimizer": {"name": "stochastic", "epsilon": 5e-324}}
    assert picked(FEATURES.float(), SALIENCY.float(), stochastic) == picked(FEATURES.float(), SALIENCY.float(), {})


def test_required_tokens_do_not_hide_equal_scores() -> None:
    """They are picked first whatever they score, so the first pick by score comes after them."""
    spec = {"recipe": "scope", "budget": K, **RECIPES["max_min of dot"]}
    required = torch.zeros(1, N, dtype=torch.bool)
    required[0, 3:5] = True

    def picks(scale: float) -> list[int]:
        tokens = scope.VisualTokens.of((FEATURES * scale).float(), required=required)
        found: list[int] = scope.Pruner(spec).stages[0].prune(tokens).picks[0].tolist()
        return found

    assert set(picks(1.0)[:2]) == {3, 4}
    with pytest.raises(TokensError, match="every token has score 1 in float32"):
        picks(1e-6)


def test_required_tokens_may_score_the_same() -> None:
    """EVS gives all tokens of the first frame the same score, and keeps them all: nothing is decided by it."""
    features = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(1))
    spec = {"recipe": "evs", "budget": {"name": "ratio_with_frame", "keep_ratio": 0.5, "frame": "image"}}
    found = scope.select(features, spec=spec, layout=scope.Layout.of([6] * 4, prompts=[0] * 4))
    assert found.counts[0] == 6
    assert sum(found.counts) == 12

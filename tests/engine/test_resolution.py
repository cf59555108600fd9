"""Numbers too small or too large for a dtype pick as float64 does, or are refused by name: never by index."""

from __future__ import annotations

from typing import Any

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
    with pytest.raises(TokensError, match=r"image 0: every token has score 0 in float32.*similarity 'dot'.*float64"):
        picked(tiny, SALIENCY.float(), RECIPES["dot"])
    with pytest.raises(TokensError, match="every token has score"):
        picked(tiny, SALIENCY.float(), RECIPES["dot"], keep=1)


def test_scores_that_are_equal_are_picked_by_index() -> None:
    """One-hot features, equal saliency, no saliency at all, copies of one token."""
    ones, zeros = torch.ones(1, N), torch.zeros(1, N)
    hot, same = torch.eye(N)[None], FEATURES.float()[:, :1].expand(1, N, D)
    for features, saliency in ((hot, ones), (hot, zeros), (same, ones), (same, zeros)):
        for name in ("product 4", "saliency", "cosine"):
            assert picked(features, saliency, RECIPES[name]) == list(range(K))
    for name in ("product 4", "saliency"):  # different tokens, which saliency alone makes equal
        assert picked(FEATURES.float(), zeros, RECIPES[name]) == list(range(K))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("similarity", ["cosine", "without_negatives"])
@pytest.mark.parametrize("coverage", ["max_min", "facility_location"])
def test_tokens_that_are_all_the_same_are_kept_by_index(coverage: str, similarity: str, seed: int) -> None:
    """A blank image: every token is as good as any other, and what differs in float64 is rounding."""
    one = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(seed)).expand(1, 16, 64)
    for combiner in ("coverage_only", "product"):
        spec = {"coverage": coverage, "similarity": similarity, "combiner": combiner, "recipe": "scope", "budget": 5}
        assert scope.select(one, saliency=torch.full((1, 16), 1 / 16), spec=spec).picks[0].tolist() == [0, 1, 2, 3, 4]

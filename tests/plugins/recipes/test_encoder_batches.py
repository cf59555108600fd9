"""Encoder-side recipes in batches: padding, required tokens, a single token, half precision."""

from __future__ import annotations

import offers
import pytest
import torch

from plugins.encoder_tokens import images
from scope_core import Pruner, VisualTokens

METHODS = ("visionzip", "fastervlm", "vispruner", "prumerge", "prumerge_plus", "hiprune", "holov", "tome")


RECIPES = (*METHODS, *(f"{method}@official" for method in METHODS))


def first(tokens: VisualTokens, image: int) -> VisualTokens:
    """One image alone, without padding."""
    size = int(tokens.valid[image].sum())
    return tokens.regroup(image * tokens.shape[1] + torch.arange(size)[None])


@pytest.mark.parametrize("recipe", RECIPES)
class TestEveryMethod:
    def pruner(self, recipe: str, keep: int | None) -> Pruner:
        budget = {} if keep is None else {"budget": {"name": "tokens", "keep": keep}}
        return Pruner({"recipe": recipe, **budget}, dtype="float64")

    @pytest.mark.parametrize("keep", [None, 9, 16])
    def test_a_ragged_batch_equals_its_images_one_by_one(self, recipe: str, keep: int | None) -> None:
        tokens = images((36, 17, 30))
        pruner = self.pruner(recipe, keep if keep or "prumerge" in recipe else 12)
        together = pruner.prune(tokens)
        for image in range(3):
            alone = pruner.prune(first(tokens, image))
            count = alone.row_counts[0]
            assert together.row_counts[image] == count
            assert together.rows[image, :count].tolist() == alone.rows[0].tolist()
            mixed = together.merge(tokens.features, tokens.signal("vision.cls[-2]"))[image, :count]
            again = first(tokens, image)
            wanted = alone.merge(again.features, again.signal("vision.cls[-2]"))[0]
            torch.testing.assert_close(mixed, wanted, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("keep", [0, 3, 8, 17])
    def test_required_tokens_stay(self, recipe: str, keep: int) -> None:
        tokens = images((36, 17), seed=1, required=(16,) if keep else ())
        got = self.pruner(recipe, keep).prune(tokens)
        assert got.row_counts == (keep, keep)
        assert bool((got.mask | ~tokens.required).all())
        assert not bool((got.mask & ~tokens.valid).any())

    def test_one_token(self, recipe: str) -> None:
        got = self.pruner(recipe, 1).prune(images((1, 1), seed=2))
        assert got.row_counts == (1, 1)

    def test_inputs_stay_as_they_are(self, recipe: str) -> None:
        tokens = images((36, 17), seed=3)
        before = [tokens.features.clone(), *(tokens.signal(name).clone() for name in sorted(tokens.signals))]
        self.pruner(recipe, 9).prune(tokens)
        after = [tokens.features, *(tokens.signal(name) for name in sorted(tokens.signals))]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))

    @pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=offers.half_products), torch.bfloat16])
    def test_half_precision_as_is(self, recipe: str, dtype: torch.dtype) -> None:
        tokens = images((36, 17), seed=4).to_dtype(dtype)
        got = Pruner({"recipe": recipe, "budget": {"name": "tokens", "keep": 9}}, dtype="as_is").prune(tokens)
        assert got.row_counts == (9, 9)
        made = got.merge(tokens.features, tokens.signal("vision.cls[-2]"))
        assert made.dtype == dtype
        assert bool(torch.isfinite(made).all())

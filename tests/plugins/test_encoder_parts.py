"""Parts behind the encoder-side methods: what each does, alone and in batches with padding and required tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import offers
import oracles_encoder as oracle
import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout, Pruner, VisualTokens
from scope_plugins.selector.quota import shares

METHODS = ("visionzip", "fastervlm", "vispruner", "prumerge", "prumerge_plus", "hiprune", "holov", "tome")
RECIPES = (*METHODS, *(f"{method}@official" for method in METHODS))
SIDE, HEADS, WIDTH = 6, 3, 8


def images(sizes: tuple[int, ...], seed: int = 0, required: tuple[int, ...] = ()) -> VisualTokens:
    """One image per size, padded to the longest with numbers that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    batch, most = len(sizes), max(sizes)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    valid = torch.arange(most) < torch.tensor(sizes)[:, None]
    signals = {"vision.cls[-2]": draw(batch, 1, WIDTH).expand(batch, most, WIDTH).contiguous()}
    for layer in (-1, -2, 9):
        logits = draw(batch, HEADS, most + 1).masked_fill(
            ~torch.nn.functional.pad(valid, (1, 0), value=True)[:, None], -9e9
        )
        signals[f"vision.cls_attention[{layer}]"] = logits.softmax(2)[..., 1:]
        signals[f"vision.received_attention[{layer}]"] = draw(batch, HEADS, most).exp()
        signals[f"vision.keys[{layer}]"] = draw(batch, HEADS, most, 4)
    index = torch.arange(most).expand(batch, -1)
    must = torch.zeros_like(valid)
    must[:, list(required)] = True
    return VisualTokens.of(
        draw(batch, most, WIDTH),
        valid=valid,
        required=must,
        row=index // SIDE,
        col=index % SIDE,
        signals=signals,
    )


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


class TestJointAttention:
    @pytest.mark.parametrize(("layout", "scale"), [((9,), 1.0), ((9, 7), 3.0)])
    def test_is_the_softmax_of_full_width_queries_and_keys(
        self, layout: tuple[int, ...], scale: float, registry: scope.Registry
    ) -> None:
        random = np.random.default_rng(0)
        per_head, wanted = [], []
        for count in layout:
            query, keys = scale * random.normal(size=(HEADS, 4)), random.normal(size=(HEADS, 1 + count, 4))
            logits = np.exp(np.einsum("hd,hnd->hn", query, keys) / 2)
            per_head.append((logits / logits.sum(1, keepdims=True))[:, 1:])
            wanted.append(oracle.joint_attention(query, keys))
        tile = torch.tensor(np.repeat(range(len(layout)), layout))[None]
        attention = torch.tensor(np.concatenate(per_head, 1))[None]
        tokens = VisualTokens.of(
            torch.ones(1, sum(layout), 2, dtype=torch.float64),
            tile=tile,
            signals={"vision.cls_attention[-1]": attention},
        )
        got = built(registry, "saliency", {"name": "joint_attention", "layer": -1}).score(tokens)
        np.testing.assert_allclose(got[0], np.concatenate(wanted), rtol=1e-9)

    def test_attention_that_underflowed_is_least(self, registry: scope.Registry) -> None:
        attention = torch.tensor([[[0.5, 0.0, 0.25], [0.5, 0.25, 0.25]]])
        tokens = VisualTokens.of(torch.ones(1, 3, 2), signals={"vision.cls_attention[-2]": attention})
        got = built(registry, "saliency", "joint_attention").score(tokens)
        assert got.argmin() == 1
        assert bool(torch.isfinite(got).all())


def test_similarity_variance_is_over_the_other_tokens(registry: scope.Registry) -> None:
    tokens = images((8, 5))
    alone = built(registry, "saliency", "similarity_variance").score(tokens)
    added = {"name": "similarity_variance", "base": {"name": "cls_attention", "heads": "mean"}, "weight": 0.5}
    together = built(registry, "saliency", added).score(tokens)
    base = tokens.signal("vision.cls_attention[-2]").mean(1)
    for image, size in enumerate((8, 5)):
        unit = torch.nn.functional.normalize(tokens.features[image, :size], dim=1).numpy()
        wanted = np.array([np.delete(row, i).var() for i, row in enumerate(unit @ unit.T)])
        np.testing.assert_allclose(alone[image, :size], wanted, rtol=1e-9)
        mine = base[image, :size].numpy()
        scaled = mine + 0.5 * wanted * mine.mean() / wanted.mean()
        np.testing.assert_allclose(together[image, :size], scaled, rtol=1e-9)


@pytest.mark.parametrize(
    ("valid", "keep", "wanted"), [(10, 3, [0, 3, 6]), (10, 4, [0, 2, 4, 6]), (7, 7, list(range(7)))]
)
def test_stride_rounds_its_step_down(valid: int, keep: int, wanted: list[int]) -> None:
    spec = {"optimizer": "stride", "coverage": "modular", "combiner": "coverage_only", "budget": keep}
    mask = (torch.arange(12) < valid)[None]
    assert scope.select(torch.ones(1, 12, 2), spec=spec, valid=mask).picks[0].tolist() == wanted


@pytest.mark.parametrize(
    ("tokens", "count", "sizes"), [(10, 3, [4, 3, 3]), (2, 3, [1, 1]), (0, 3, []), (9, 3, [3, 3, 3])]
)
def test_chunks_are_as_equal_as_can_be(tokens: int, count: int, sizes: list[int], registry: scope.Registry) -> None:
    groups = built(registry, "partition", {"name": "chunks", "count": count}).split(Layout.of([tokens]))
    assert [sum(span.tokens for span in group) for group in groups] == sizes
    assert [span.start for group in groups for span in group] == [sum(sizes[:i]) for i in range(len(sizes))]


class TestQuota:
    @given(
        st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0, 30.0]), st.integers(0, 6), st.integers(0, 6)), min_size=1),
        st.floats(0, 1),
    )
    def test_shares_add_up_within_their_bounds(self, pieces: list[tuple[float, int, int]], how_full: float) -> None:
        weights = [weight for weight, _, _ in pieces]
        least = [min(low, high) for _, low, high in pieces]
        most = [max(low, high) for _, low, high in pieces]
        total = round(sum(least) + how_full * (sum(most) - sum(least)))
        counts = shares(total, weights, least, most)
        assert sum(counts) == total
        assert all(low <= count <= high for low, count, high in zip(least, counts, most, strict=True))

    def test_sharpness(self) -> None:
        tokens = torch.ones(1, 8, 2)
        saliency = torch.tensor([[3.0, 3, 3, 3, 1, 1, 1, 1]])

        def counts(sharpness: float) -> list[int]:
            spec = {
                "selector": {"name": "quota", "partition": {"name": "chunks", "count": 2}, "sharpness": sharpness},
                "budget": 4,
            }
            kept = scope.select(tokens, saliency=saliency, spec=spec).kept[0]
            return [int((kept < 4).sum()), int((kept >= 4).sum())]

        assert counts(0) == [2, 2]
        assert counts(1) == [3, 1]
        assert counts(8) == [4, 0]

    def test_pieces_may_be_tiles(self) -> None:
        spec = {"selector": {"name": "quota", "partition": "tile", "sharpness": 0}, "budget": 6}
        got = scope.select(
            torch.randn(1, 12, 3), saliency=torch.arange(12.0)[None], spec=spec, layout=Layout.of([[4, 4, 4]])
        )
        assert got.tokens.tile[0, got.kept[0]].tolist() == [0, 0, 1, 1, 2, 2]

    def test_negative_scores_are_refused(self) -> None:
        spec = {"selector": {"name": "quota", "partition": {"name": "chunks", "count": 2}}, "budget": 2}
        with pytest.raises(scope.SpecError, match=r"quota.*piece.*-1"):
            scope.select(torch.ones(1, 8, 2), saliency=-torch.ones(1, 8), spec=spec)


class TestExpand:
    def keep(self, anchor: int, keep: int = 20, wrap: bool = False, **more: Any) -> list[int]:
        """Kept tokens of a 6 x 6 grid with one or more anchors, the rest from the end."""
        share = more.pop("share", 5 / keep)
        spec = {
            "selector": {
                "name": "expand",
                "anchors": {"name": "composite", "saliency": {"name": "cls_attention", "layer": 1}, **TOP},
                "rest": {"name": "composite", "saliency": {"name": "cls_attention", "layer": 2}, **TOP},
                "share": share,
                "wrap": wrap,
            },
            "budget": keep,
        }
        signals = {
            "vision.cls_attention[1]": (torch.arange(36) == anchor).float()[None, None],
            "vision.cls_attention[2]": torch.arange(36.0)[None, None],
        }
        return (
            scope.select(torch.ones(1, 36, 2), spec=spec, signals=signals, **{"grid": (6, 6), **more}).picks[0].tolist()
        )

    def test_an_anchor_brings_its_four_neighbours(self) -> None:
        assert self.keep(14)[:5] == [14, 13, 15, 8, 20]
        assert self.keep(14)[5:] == list(range(35, 20, -1))

    @pytest.mark.parametrize(("anchor", "wanted"), [(0, [0, 1, 6]), (11, [11, 10, 5, 17]), (35, [35, 34, 29])])
    def test_edges_have_fewer(self, anchor: int, wanted: list[int]) -> None:
        assert self.keep(anchor)[: len(wanted)] == wanted
        assert len(self.keep(anchor)) == 20

    @pytest.mark.parametrize(
        ("anchor", "wanted"), [(11, [11, 10, 12, 5, 17]), (2, [2, 1, 3, 0, 8]), (35, [35, 34, 29])]
    )
    def test_token_numbers_wrap_as_released(self, anchor: int, wanted: list[int]) -> None:
        assert self.keep(anchor, wrap=True)[: len(wanted)] == wanted

    def test_tokens_without_a_grid_have_no_neighbours(self) -> None:
        assert self.keep(14, grid=None) == [14, *range(35, 16, -1)]

    def test_neighbours_that_do_not_fit_are_given_up(self) -> None:
        assert self.keep(14, keep=3, share=1.0) == [14, 13, 15]


TOP = {"coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}


class TestBipartite:
    LINE = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0], [0, -1]])[None].double()

    def select(self, keep: int, **options: Any) -> scope.Selection:
        return scope.select(self.LINE, spec={"selector": {"name": "bipartite", **options}, "budget": keep})

    def test_the_even_one_of_the_most_alike_pair_goes(self) -> None:
        assert self.select(5).picks[0].tolist() == [1, 2, 3, 4, 5]
        assert self.select(4).picks[0].tolist() == [1, 3, 4, 5]

    def test_folding_says_where_each_token_went(self) -> None:
        got = self.select(4, fold=True)
        assert got.assigned is not None
        assert got.assigned[0].tolist() == [1, 1, 3, 3, 4, 5]
        assert got.gains[0].tolist() == [2, 2, 1, 1]

    def test_order_by_lines_up(self) -> None:
        spec = {"name": "bipartite", "order_by": "cls_attention"}
        saliency = torch.tensor([[6.0, 1, 5, 2, 4, 3]])  # the line 0 2 4 5 3 1: 0-2, 4-5, 3-1 are no pairs of alike
        got = scope.select(self.LINE, saliency=saliency, spec={"selector": spec, "budget": 5})
        cosines = self.LINE[0] @ self.LINE[0].T / self.LINE[0].norm(dim=1) / self.LINE[0].norm(dim=1)[:, None]
        best = {i: max(float(cosines[i, j]) for j in (2, 5, 1)) for i in (0, 4, 3)}
        gone = max(best, key=lambda i: best[i])
        assert sorted(got.picks[0].tolist()) == [i for i in range(6) if i != gone]

    def test_scores_are_the_distance_to_the_nearest_other_pick(self) -> None:
        got = self.select(2, per_round=1)
        unit = torch.nn.functional.normalize(self.LINE[0][got.picks[0]], dim=1)
        torch.testing.assert_close(got.scores[0], (1 - unit[0] @ unit[1]).expand(2).float())

"""`Pruner` and `select`: plans, groups, ragged batches, constraints, and inputs left as they were."""

from __future__ import annotations

from typing import Any

import oracles
import pytest
import torch
from fakes import module, random_case
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import BudgetError, Layout, Pruner, TokensError
from scope_core.parts import Recipe


class TestPlan:
    @pytest.mark.parametrize(
        ("budget", "partition", "counts"),
        [
            ({"keep": 640}, "image", (640, 64)),
            ({"keep": 640}, "tile", (214, 213, 213, 64)),
            ({"keep": 10, "per": "tile"}, "image", (30, 10)),
            ({"keep": 10, "per": "tile"}, "tile", (10, 10, 10, 10)),
            ({"keep": 640, "per": "total"}, "image", (617, 23)),
            ({"keep": 640, "per": "total"}, "prompt", (640,)),
            ({"name": "ratio", "keep_ratio": 0.5}, "image", (864, 32)),
            ({"name": "ratio", "keep_ratio": 0.5}, "tile", (288, 288, 288, 32)),
        ],
    )
    def test_counts_are_exact(self, budget: dict[str, Any], partition: str, counts: tuple[int, ...]) -> None:
        layout = Layout.of([[576, 576, 576], 64])
        spec = {
            "recipe": "scope",
            "budget": {"name": "tokens", "if_short": "keep_all", **budget},
            "partition": partition,
        }
        if "keep_ratio" in budget:
            spec["budget"] = budget
        assert Pruner(spec).plan(layout).counts == counts

    def test_it_is_pure(self) -> None:
        pruner, layout = Pruner("scope@64"), Layout.of([576, 576])
        assert pruner.plan(layout) == pruner.plan(layout) == pruner.plan([576, 576])
        assert pruner.plan([576, 576]).images == (64, 64)
        assert pruner.plan([]).total == 0

    def test_it_says_what_selection_will_do(self) -> None:
        features, saliency = random_case(2, 30)
        layout = Layout.of([[10, 20], [15, 15]])
        for partition in ("image", "tile"):
            pruner = Pruner({"recipe": "scope", "budget": 7, "partition": partition})
            assert pruner.select(features, saliency=saliency, layout=layout).counts == pruner.plan(layout).images

    @pytest.mark.parametrize(
        ("spec", "images", "error", "text"),
        [
            ("scope@640", [576], BudgetError, "keeps 640 per image, but image 0 has 576 tokens; lower `keep`, or set"),
            ("scope@4", 576, TokensError, "give a list with the tokens of each image"),
            ("scope@4", [[24, 24]], TokensError, "give tokens per image"),
            ("scope@4", ["a"], TokensError, "image 0 is 'a'"),
            ("scope@4", [-5], TokensError, "image 0: -5 is not a token count"),
        ],
    )
    def test_impossible_plans(self, spec: str, images: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error) as caught:
            Pruner(spec).plan(images)
        assert text in str(caught.value)


class TestGroups:
    def test_tiles_are_selected_by_themselves_and_come_back_as_one_image(self) -> None:
        features, saliency = random_case(1, 1728)
        spec = {"recipe": "scope", "budget": 640, "partition": "tile"}
        got = scope.select(features, saliency=saliency, spec=spec, layout=Layout.of([[576] * 3]))
        kept = got.kept[0]
        assert [int(((kept >= low) & (kept < low + 576)).sum()) for low in (0, 576, 1152)] == [214, 213, 213]
        alone = scope.select(features[:, 576:1152], saliency=saliency[:, 576:1152], spec="scope@213")
        assert got.picks[0, 214:427].tolist() == (alone.picks[0] + 576).tolist()
        assert got.gains[0, 214:427].tolist() == alone.gains[0].tolist()

    def test_images_of_a_prompt_compete(self) -> None:
        features, saliency = random_case(3, 12)
        saliency[1] *= 100
        layout = Layout.of([12, 12, 12], prompts=[0, 0, 1])
        spec = {"recipe": "scope", "budget": {"name": "tokens", "keep": 12, "per": "total"}, "partition": "prompt"}
        got = scope.select(features, saliency=saliency, spec=spec, layout=layout)
        together = oracles.cosine_matrix(features[:2].reshape(24, 8).numpy())
        want = oracles.scope_picks(together, saliency[:2].reshape(24).numpy(), 8)[0]
        assert got.counts == (sum(p < 12 for p in want), sum(p >= 12 for p in want), 4)
        assert got.counts[1] > got.counts[0]
        for row in (0, 1):
            assert got.picks[row][got.picks[row] >= 0].tolist() == [p - 12 * row for p in want if p // 12 == row]

    @given(st.data())
    def test_any_partition_of_a_ragged_batch_keeps_what_was_planned(self, data: st.DataObject) -> None:
        tiles = data.draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), min_size=1, max_size=3))
        layout = Layout.of(
            tiles, prompts=data.draw(st.lists(st.integers(0, 1), min_size=len(tiles), max_size=len(tiles)))
        )
        count = max(max(image.tokens for image in layout.images), 1)
        features, saliency = random_case(len(tiles), count)
        valid = torch.zeros(len(tiles), count, dtype=torch.bool)
        for row, image in enumerate(layout.images):
            places = data.draw(st.permutations(range(count)))[: image.tokens]
            valid[row, list(places)] = True
        features[~valid] = float("nan")
        spec = {
            "recipe": data.draw(st.sampled_from(["scope", "divprune", "top_k_attention", "uniform_grid", "random"])),
            "budget": {
                "name": "tokens",
                "keep": data.draw(st.integers(0, 6)),
                "per": data.draw(st.sampled_from(["image", "tile", "total"])),
                "if_short": "keep_all",
            },
            "partition": data.draw(st.sampled_from(["image", "tile", "prompt"])),
        }
        pruner = Pruner(spec)
        got = pruner.select(features, saliency=saliency, valid=valid, layout=layout)
        assert sum(got.counts) == pruner.plan(layout).total
        assert not (got.mask & ~valid).any()
        assert got.mask.sum(1).tolist() == list(got.counts)


class TestLabel:
    @pytest.mark.parametrize(
        ("spec", "label"),
        [
            ("scope@8", "scope@8"),
            ({"recipe": "scope", "budget": 0.25}, "scope@25%"),
            ({"recipe": "scope", "budget": 8, "combiner": {"alpha": 2}}, "scope+alpha=2@8"),
            ({"recipe": "scope", "budget": 8, "combiner": {"alpha": 1.0}}, "scope@8"),
            ({"budget": 8}, "custom@8"),
        ],
    )
    def test_says_what_was_changed(self, spec: Any, label: str) -> None:
        assert Pruner(spec).label == label
        assert repr(Pruner(spec)) == f"Pruner('{label}')"

    def test_a_recipe_need_not_hold_a_budget(self, registry: scope.Registry) -> None:
        bare = Recipe("acme.bare", {"combiner": "coverage_only"}, "no budget")
        wider = registry.with_module(module(scope_recipes=[bare]))
        assert Pruner("acme.bare@2", registry=wider).label == "acme.bare@2"
        assert scope.select(torch.eye(4), spec="acme.bare@2", registry=wider).counts == (2,)

"""Schedules: specs with later stages, their plans, what they print back, and their receipts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml
from fakes import entry, module, random_case

import scope_core as scope
from scope_core import Layout, Pruner, SpecError
from scope_core.parts import Budget, Merger, Recipe
from scope_core.pruning.spec_schema import json_schema
from scope_core.pruning.spec_short import decoder_layer

PYRAMID = {"recipe": "scope", "budget": 64, "then": [{"at": "decoder[8]", "budget": 0.5}, {"at": "decoder[16]"}]}
CHAIN = {"name": "chain", "stages": ["composite", {"name": "composite", "coverage": "modular"}], "shares": [1, 2]}


@pytest.fixture(scope="module")
def schema(registry: scope.Registry) -> jsonschema.Draft202012Validator:
    made = json_schema(registry)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def refused(spec: Any, registry: scope.Registry) -> str:
    with pytest.raises(SpecError) as caught:
        Pruner(spec, registry=registry)
    return str(caught.value)


class TestWriting:
    def test_a_stage_is_the_one_before_it_but_for_what_it_names(self, registry: scope.Registry) -> None:
        pruner = Pruner(
            {
                "recipe": "scope",
                "budget": 64,
                "saliency": {"layer": -3},
                "dtype": "float64",
                "then": [
                    {"at": "decoder[8]", "budget": 0.5, "combiner": {"alpha": 2}},
                    {"at": "decoder[16]", "saliency": "uniform", "order": "picks"},
                    {"at": "decoder[20]", "order": "raster", "budget": {"per": "total"}},
                ],
            },
            registry=registry,
        )
        first, second, third, fourth = (stage.spec for stage in pruner.stages)
        assert [spec.at for spec in (first, second, third, fourth)] == [
            "vision",
            "decoder[8]",
            "decoder[16]",
            "decoder[20]",
        ]
        assert [spec.selector.combiner.alpha for spec in (first, second, third, fourth)] == [1, 2, 2, 2]
        assert [spec.selector.saliency.name for spec in (second, third, fourth)] == ["cls_attention"] + ["uniform"] * 2
        assert second.selector.saliency.layer == -3
        assert [spec.budget.name for spec in (first, second, third, fourth)] == ["tokens"] + ["ratio"] * 3
        assert (third.budget.per, fourth.budget.per, fourth.budget.keep_ratio) == ("image", "total", 0.5)
        assert [spec.order for spec in (first, second, third, fourth)] == ["raster", "raster", "picks", "raster"]
        assert {spec.dtype for spec in (first, second, third, fourth)} == {"float64"}
        assert [stage.decoder_layer for stage in pruner.stages] == [None, 8, 16, 20]

    def test_a_recipe_starts_afresh(self, registry: scope.Registry) -> None:
        written = [
            {"recipe": "random", "at": "decoder[3]", "budget": 7},
            {"at": "decoder[5]"},
        ]
        spec = {"recipe": "scope", "saliency": {"layer": -3}, "budget": 64, "order": "picks", "then": written}
        _, second, third = Pruner(spec, registry=registry).stages
        alone = Pruner({"recipe": "random", "at": "decoder[3]", "budget": 7}, registry=registry)
        assert second.spec == alone.spec
        assert third.spec.to_dict(registry) == {**alone.spec.to_dict(registry), "at": "decoder[5]"}

    def test_a_recipe_in_short_says_where_by_itself(self, registry: scope.Registry) -> None:
        inside = Recipe("acme.inside", {"at": "decoder[3]", "saliency": "uniform", "budget": 8}, "inside")
        wider = registry.with_module(module(scope_recipes=[inside]))
        _, second = Pruner({"recipe": "scope", "then": ["acme.inside@7"]}, registry=wider).stages
        assert (second.spec.at, second.spec.budget.keep, second.spec.recipe) == ("decoder[3]", 7, "acme.inside")

    def test_a_recipe_may_hold_stages_and_is_one_stage_where_it_is_used_as_one(self, registry: scope.Registry) -> None:
        staged = Recipe("acme.staged", {**PYRAMID, "recipe": None, "saliency": "uniform", "at": "decoder[2]"}, "")
        wider = registry.with_module(module(scope_recipes=[staged]))
        assert len(Pruner("acme.staged", registry=wider).stages) == 3
        other = Pruner({"recipe": "acme.staged", "then": [{"at": "decoder[4]"}]}, registry=wider)
        assert [stage.spec.at for stage in other.stages] == ["decoder[2]", "decoder[4]"]
        one = Pruner({"recipe": "scope", "then": [{"recipe": "acme.staged"}, {"at": "decoder[9]"}]}, registry=wider)
        assert [stage.spec.at for stage in one.stages] == ["vision", "decoder[2]", "decoder[9]"]
        assert all(stage.spec.then == () for stage in one.stages[1:])

    def test_whole_selectors_and_their_parts_replace_one_another(self, registry: scope.Registry) -> None:
        spec = {
            "recipe": "scope",
            "budget": 64,
            "then": [
                {"at": "decoder[2]", "selector": CHAIN},
                {"at": "decoder[3]", "budget": 32},
                {"at": "decoder[4]", "saliency": "uniform"},
            ],
        }
        stages = Pruner(spec, registry=registry).stages
        assert [stage.spec.selector.name for stage in stages] == ["composite", "chain", "chain", "composite"]
        assert stages[2].spec.selector.shares == (1, 2)
        assert stages[3].spec.selector.saliency.name == "uniform"
        # the chain is gone, so its parts are; what is not written is the default, as at the top of a spec
        plain = Pruner({"saliency": "uniform", "budget": 32}, registry=registry).spec
        assert stages[3].spec.selector == plain.selector

    def test_stages_may_be_spec_objects(self, registry: scope.Registry) -> None:
        second = Pruner({"recipe": "random", "at": "decoder[2]", "budget": 7}, registry=registry).spec
        then = [second, {"at": "decoder[5]", "saliency": "uniform"}]
        made = Pruner({"recipe": "scope", "then": then}, registry=registry).spec
        assert made.then[0] == second
        assert made.then[1].budget == second.budget
        assert made.then[1].selector.saliency.name == "uniform"
        assert made.then[1].selector.combiner == second.selector.combiner

    @pytest.mark.parametrize(
        ("then", "complaint"),
        [
            ([{"at": "decoder[8]"}, {"at": "decoder[8]"}], "vision -> decoder[8] -> decoder[8] are out of order at"),
            ([{"at": "decoder[8]"}, {"at": "decoder[4]"}], "are out of order at 'decoder[4]'"),
            ([{"at": "decoder[8]"}, {"at": "projected"}], "are out of order at 'projected'"),
            ([{}], "vision -> vision are out of order"),
            (
                [{"at": "decoder[0]"}],
                "then.0.at: 'decoder[0]' is not an interception point; write decoder[k] with k from 1",
            ),
            ([{"at": "decoder[x]"}], "then.0.at: 'decoder[x]' is not an interception point"),
            ([{"at": "decoder[02]"}], "then.0.at: 'decoder[02]' is not an interception point"),
            ([{"at": "decoder"}], "then.0.at: 'decoder' is not an interception point"),
            (
                [{"at": "decoder[2]"}, {"at": "decoder[3]", "budgett": 3}, {"at": "decoder[4]"}],
                "spec: then.1: there is no option 'budgett' (did you mean 'budget'?)",
            ),
            (
                [{"at": "decoder[2]"}, {"at": "decoder[3]", "budget": -3}, {"at": "decoder[4]"}],
                "spec: then.1.budget.keep: Input should be greater than or equal to 0 (given: -3)",
            ),
            (
                [{"at": "decoder[2]", "combiner": {"alpa": 2}}],
                "spec: then.0.combiner: combiner 'product' has no option 'alpa' (did you mean 'alpha'?)",
            ),
            (
                [{"at": "decoder[2]", "saliency": "cls_atention"}],
                "then.0.saliency: no saliency source is called 'cls_atention' (did you mean 'cls_attention'?)",
            ),
            (
                [{"at": "decoder[2]", "selector": {**CHAIN, "stages": ["composit", "composite"]}}],
                "then.0.selector.stages.0: no selector is called 'composit' (did you mean 'composite'?)",
            ),
            ([{"at": "decoder[2]"}, {"recipe": "scpe"}], "then.1: no recipe is called 'scpe' (did you mean 'scope'?)"),
            ([{"at": "decoder[2]", "then": []}], "then.0: 'then' belongs to the first stage"),
            ([{"at": "decoder[2]", "adapter": "llava"}], "then.0: 'adapter' belongs to the first stage"),
            ([3], "then.0: cannot read 3 as a stage; give a table such as {at: 'decoder[8]'}"),
            ({"at": "decoder[2]"}, "give a list of stages under 'then', not {'at': 'decoder[2]'}"),
            ("decoder[2]", "give a list of stages under 'then', not 'decoder[2]'"),
        ],
    )
    def test_what_is_refused_says_where(self, then: Any, complaint: str, registry: scope.Registry) -> None:
        text = refused({"recipe": "scope", "then": then}, registry)
        assert complaint in text
        assert len(text.splitlines()) == 1  # said once, and not of every stage that comes after

    def test_what_is_wrong_from_the_first_stage_on_is_said_once(self, registry: scope.Registry) -> None:
        text = refused({**PYRAMID, "budget": -3}, registry)
        assert text.startswith("spec: budget.keep:")
        assert "then" not in text

    @pytest.mark.parametrize("inner", [{"then": [{"at": "decoder[9]"}]}, {"adapter": "llava"}])
    def test_spec_objects_with_stages_or_adapters_are_no_stages(
        self, inner: dict[str, Any], registry: scope.Registry
    ) -> None:
        stage = Pruner({"recipe": "scope", "at": "decoder[2]", **inner}, registry=registry).spec
        text = refused({"recipe": "scope", "then": [stage]}, registry)
        assert f"then.0: '{next(iter(inner))}' belongs to the first stage" in text

    @pytest.mark.parametrize(("at", "layer"), [("decoder[1]", 1), ("decoder[31]", 31), ("vision", None)])
    def test_points_inside_the_language_model(self, at: str, layer: int | None) -> None:
        assert decoder_layer(at) == layer


WRITTEN: dict[str, Any] = {
    "plain": {"recipe": "scope", "budget": 32},
    "pyramid": PYRAMID,
    "order": {**PYRAMID, "order": "picks", "then": [{"at": "decoder[2]", "order": "stages"}, {"at": "decoder[3]"}]},
    "back to raster": {**PYRAMID, "order": "picks", "then": [{"at": "decoder[2]", "order": "raster"}]},
    "recipe": {
        "recipe": "scope",
        "then": [{"recipe": "random", "at": "decoder[1]"}, {"at": "decoder[2]", "budget": 3}],
    },
    "selectors": {
        "recipe": "scope",
        "then": [{"at": "decoder[2]", "selector": CHAIN}, {"at": "decoder[4]", "saliency": "uniform"}],
    },
    "chain first": {
        "selector": CHAIN,
        "budget": 9,
        "then": [{"at": "decoder[2]"}, {"at": "decoder[4]", "recipe": "divprune"}],
    },
    "constraints": {
        "recipe": "scope",
        "constraints": [{"name": "cells", "keep": [[0, 1]]}],
        "then": [{"at": "decoder[2]", "constraints": []}, {"at": "decoder[3]", "constraints": ["first_frame"]}],
    },
    "inside": {
        "recipe": "scope",
        "saliency": "uniform",
        "at": "decoder[2]",
        "then": [{"at": "decoder[3]", "budget": 0.5}],
    },
}


@pytest.mark.parametrize("name", WRITTEN)
class TestRoundTrips:
    def same(self, spec: Any, first: Pruner) -> None:
        again = Pruner(spec, registry=first.registry)
        assert len(again.stages) == len(first.stages)
        for mine, theirs in zip(again.stages, first.stages, strict=True):
            mine_table, their_table = (s.spec.model_dump(exclude={"recipe", "then"}) for s in (mine, theirs))
            assert mine_table == their_table

    def test_through_tables_text_and_files(self, name: str, tmp_path: Path, registry: scope.Registry) -> None:
        first = Pruner(WRITTEN[name], registry=registry)
        table, text = first.spec.to_dict(registry), first.spec.to_yaml(registry)
        assert yaml.safe_load(text) == json.loads(json.dumps(table)) == table
        self.same(table, first)
        for ending, written in ((".yaml", text), (".json", json.dumps(table))):
            path = tmp_path / f"spec{ending}"
            path.write_text(written)
            self.same(path, first)

    def test_a_spec_object_is_itself(self, name: str, registry: scope.Registry) -> None:
        first = Pruner(WRITTEN[name], registry=registry)
        assert Pruner(first.spec, registry=registry).spec == first.spec

    def test_overriding_a_spec_object_is_as_writing_it(self, name: str, registry: scope.Registry) -> None:
        first = Pruner(WRITTEN[name], registry=registry)
        changed = Pruner(first.spec, registry=registry, budget=5)
        assert changed.spec.budget.keep == 5
        assert changed.spec.recipe == first.spec.recipe
        self.same({**first.spec.to_dict(registry), "budget": 5}, changed)
        assert [stage.spec.at for stage in changed.stages] == [stage.spec.at for stage in first.stages]
        assert changed.spec.selector == first.spec.selector

    def test_its_stages_can_be_taken_away(self, name: str, registry: scope.Registry) -> None:
        first = Pruner(WRITTEN[name], registry=registry)
        assert Pruner(first.spec, registry=registry, then=[]).spec == first.spec.model_copy(update={"then": ()})

    def test_the_schema_accepts_the_long_form(self, name: str, schema: Any, registry: scope.Registry) -> None:
        table = Pruner(WRITTEN[name], registry=registry).spec.to_dict(registry)
        schema.validate(table)
        schema.validate(json.loads(json.dumps(WRITTEN[name])))


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "backwards"},
        {"then": {"at": "decoder[2]"}},
        {"then": [3]},
        {"then": [{"at": "decoder[2]", "saliency": "no_such"}]},
        {"then": [{"at": "decoder[2]", "budget": "many"}]},
        {"then": [{"at": "decoder[2]", "thenn": []}]},
        {"then": [{"at": 2}]},
    ],
    ids=str,
)
def test_the_schema_rejects_what_is_wrong(wrong: dict[str, Any], schema: Any, registry: scope.Registry) -> None:
    assert not schema.is_valid({"recipe": "scope", **wrong})
    with pytest.raises(SpecError):
        Pruner({"recipe": "scope", **wrong}, registry=registry)


class TestLabels:
    def test_stages_that_were_added_are_named(self, registry: scope.Registry) -> None:
        assert Pruner(PYRAMID, registry=registry).label == "scope+then=decoder[8]@50%,decoder[16]@50%@64"
        both = Pruner({**PYRAMID, "order": "picks"}, registry=registry).label
        assert re.fullmatch(r"scope\+order\+then#[0-9a-f]{4}@64", both)

    def test_a_recipes_own_stages_are_not(self, registry: scope.Registry) -> None:
        own = {key: value for key, value in PYRAMID.items() if key != "recipe"}
        staged = Recipe("acme.staged@official", {**own, "saliency": "uniform"}, "")
        wider = registry.with_module(module(scope_recipes=[staged]))
        assert Pruner("acme.staged@official", registry=wider).label == "acme.staged@official@64"
        assert Pruner("acme.staged@official@7", registry=wider).label == "acme.staged@official@7"
        changed = Pruner({"recipe": "acme.staged@official", "then": []}, registry=wider)
        assert changed.label == "acme.staged@official+then=none@64"


class TestNumbers:
    """A bare number sets the budget that the recipe has, where that is a number of the kind."""

    @pytest.fixture
    def wider(self, registry: scope.Registry) -> scope.Registry:
        odd = entry(
            Budget,
            "acme.odd",
            options={"count": (int, 3), "share": (float, ...)},
            plan=lambda self, layout, groups: tuple(self.spec.count for _ in groups),
        )
        odd.model.shorthand = (int, "count")
        recipe = Recipe("acme.own", {"saliency": "uniform", "budget": {"name": "acme.odd", "share": 0.25}}, "")
        return registry.with_module(module(scope_budgets=[odd], scope_recipes=[recipe]))

    def test_its_own_budget_keeps_its_other_options(self, wider: scope.Registry) -> None:
        for written in ("acme.own@7", {"recipe": "acme.own", "budget": 7}):
            budget = Pruner(written, registry=wider).spec.budget
            assert budget.model_dump() == {"name": "acme.odd", "count": 7, "share": 0.25}
        assert Pruner("acme.own", registry=wider, budget=9).spec.budget.count == 9
        assert Pruner("acme.own@7", registry=wider).label == "acme.own@7"

    def test_a_number_of_the_other_kind_is_the_default_budget_of_that_kind(self, wider: scope.Registry) -> None:
        for written in ("acme.own@0.5", "acme.own@50%"):
            assert Pruner(written, registry=wider).spec.budget.model_dump() == {
                "name": "ratio",
                "keep_ratio": 0.5,
                "per": "image",
            }

    def test_likewise_in_later_stages(self, wider: scope.Registry) -> None:
        then = [
            {"at": "decoder[1]", "budget": 5},
            {"at": "decoder[2]", "budget": 0.5},
            {"at": "decoder[3]", "budget": 4},
        ]
        stages = Pruner({"recipe": "acme.own", "then": then}, registry=wider).stages
        assert [stage.spec.budget.name for stage in stages] == ["acme.odd", "acme.odd", "ratio", "tokens"]
        assert (stages[1].spec.budget.count, stages[1].spec.budget.share) == (5, 0.25)

    def test_whole_and_truth_are_told_apart(self, wider: scope.Registry) -> None:
        assert "budget" in refused({"recipe": "acme.own", "budget": True}, wider)

    def test_a_part_without_a_number_gives_way(self, registry: scope.Registry) -> None:
        bare = entry(Budget, "acme.bare", plan=lambda self, layout, groups: tuple(1 for _ in groups))
        recipe = Recipe("acme.own", {"saliency": "uniform", "budget": "acme.bare"}, "")
        wider = registry.with_module(module(scope_budgets=[bare], scope_recipes=[recipe]))
        assert Pruner("acme.own@7", registry=wider).spec.budget.name == "tokens"


class TestPlans:
    def test_each_stage_plans_for_what_the_one_before_it_kept(self, registry: scope.Registry) -> None:
        pruner = Pruner(PYRAMID, registry=registry)
        plan = pruner.plan(Layout.of([[300, 276], [576]], prompts=[0, 1]))
        assert plan.images == (64, 64)
        assert [later.images for later in plan.later] == [(32, 32), (16, 16)]
        assert all(later.later == () for later in plan.later)
        assert [image.tiles for image in plan.later[0].layout.images] == [(64,), (64,)]
        assert [image.full for image in plan.later[1].layout.images] == [576, 576]
        assert [image.original for image in plan.layout.images] == [576, 576]
        assert [image.prompt for image in plan.later[1].layout.images] == [0, 1]

    def test_budgets_see_where_in_the_schedule_they_are(self, registry: scope.Registry) -> None:
        seen: list[tuple[int, tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = []

        def plan(self: Any, layout: Layout, groups: Any) -> tuple[int, ...]:
            images = layout.images
            seen.append(
                (layout.stage, layout.schedule, *(tuple(getattr(i, n) for i in images) for n in ("tokens", "original")))
            )
            return tuple(image.tokens // 2 for image in images)

        looking = entry(Budget, "acme.looking", plan=plan)
        wider = registry.with_module(module(scope_budgets=[looking]))
        schedule = ("projected", "decoder[2]", "decoder[5]")
        spec = {
            "saliency": "uniform",
            "at": "projected",
            "budget": "acme.looking",
            "then": [{"at": at} for at in schedule[1:]],
        }
        pruner = Pruner(spec, registry=wider)
        pruner.plan([40, 12])
        assert seen == [
            (0, schedule, (40, 12), (40, 12)),
            (1, schedule, (20, 6), (40, 12)),
            (2, schedule, (10, 3), (40, 12)),
        ]
        seen.clear()
        features, _ = random_case(1, 10)
        pruner.stages[1].select(features)
        assert next((stage, tokens) for stage, _, tokens, _ in seen) == (1, (10,))

    def test_one_stage_knows_so(self, registry: scope.Registry) -> None:
        plan = Pruner("scope@4", registry=registry).plan([9])
        assert (plan.later, plan.layout.stage, plan.layout.schedule) == ((), 0, ("vision",))

    def test_images_that_share_a_budget_leave_later_stages_open(self, registry: scope.Registry) -> None:
        plan = Pruner({**PYRAMID, "partition": "prompt"}, registry=registry).plan(Layout.of([100, 100], prompts=[0, 0]))
        assert plan.later == ()
        alone = Pruner({**PYRAMID, "partition": "prompt"}, registry=registry).plan(
            Layout.of([100, 100], prompts=[0, 1])
        )
        assert [later.images for later in alone.later] == [(32, 32), (16, 16)]

    def test_a_budget_that_cannot_be_met_later_is_refused_at_once(self, registry: scope.Registry) -> None:
        with pytest.raises(scope.BudgetError, match="image 0"):
            Pruner({"recipe": "scope", "budget": 64, "then": [{"at": "decoder[2]", "budget": 65}]}).plan([576])

    def test_rows_of_a_merger_are_tokens_of_the_next_stage(self, registry: scope.Registry) -> None:
        adding = entry(Merger, "acme.adding", extra=lambda self, tokens, rows: (1, 1), weights=lambda s, i: None)
        wider = registry.with_module(module(scope_mergers=[adding]))
        spec = {"recipe": "scope", "budget": 8, "merger": "acme.adding"}
        plan = Pruner({**spec, "then": [{"at": "decoder[2]", "merger": "none", "budget": 8}]}, registry=wider).plan(
            [20]
        )
        assert (plan.images, plan.later[0].layout.images[0].tokens, plan.later[0].images) == ((8,), 8, (8,))

    @pytest.mark.parametrize(
        ("adaptive", "exact"), [(0, [False] * 3), (1, [True, False, False]), (2, [True, True, False])]
    )
    def test_counts_are_exact_up_to_the_first_budget_that_looks_at_the_image(
        self, adaptive: int, exact: list[bool], registry: scope.Registry
    ) -> None:
        loose = entry(Budget, "acme.loose", adaptive=True, plan=lambda self, layout, groups: tuple(4 for _ in groups))
        wider = registry.with_module(module(scope_budgets=[loose]))
        stages: list[dict[str, Any]] = [{"at": at, "budget": 4} for at in ("vision", "decoder[1]", "decoder[2]")]
        stages[adaptive]["budget"] = "acme.loose"
        plan = Pruner({"recipe": "scope", **stages[0], "then": stages[1:]}, registry=wider).plan([9])
        assert [made.exact for made in (plan, *plan.later)] == exact


class TestSelecting:
    def test_stages_have_tokens_of_their_own(self, registry: scope.Registry) -> None:
        features, saliency = random_case(2, 20)
        spec = {"recipe": "scope", "budget": 8, "then": [{"at": "decoder[2]", "budget": 3, "saliency": "uniform"}]}
        with pytest.raises(
            SpecError, match=r"scope\+then=decoder\[2\]@3@8 has stages at vision -> decoder\[2\], each of which selects"
        ):
            scope.select(features, saliency=saliency, spec=spec, registry=registry)
        pruner = Pruner(spec, registry=registry)
        first, second = pruner.stages
        assert (first.number, second.number) == (0, 1)
        made = first.select(features, saliency=saliency)
        left = second.select(made.gather(features))
        alone = scope.select(
            made.gather(features), spec={"recipe": "scope", "budget": 3, "saliency": "uniform"}, registry=registry
        )
        assert made.counts == (8, 8)
        assert left.picks.tolist() == alone.picks.tolist()

    def test_each_stage_needs_what_its_own_parts_read(self, registry: scope.Registry) -> None:
        then = [{"at": "decoder[2]", "saliency": "uniform"}]
        pruner = Pruner({"recipe": "scope", "then": then}, registry=registry)
        assert [stage.needs for stage in pruner.stages] == [{"vision.cls_attention[-2]"}, set()]


class TestReceipts:
    def test_later_stages_follow_in_text_and_data(self, registry: scope.Registry) -> None:
        features, saliency = random_case(2, 20)
        spec = {"recipe": "scope", "budget": 8, "then": [{"at": "decoder[2]", "budget": 3, "saliency": "uniform"}]}
        first, second = Pruner(spec, registry=registry).stages
        made = first.select(features, saliency=saliency)
        left = second.select(made.gather(features))
        receipt = replace(first.receipt(made), later=(second.receipt(left),))
        data = json.loads(receipt.to_json())
        assert (data["tokens"], data["kept"], data["at"]) == (40, 16, "vision")
        (later,) = data["later"]
        assert (later["tokens"], later["kept"], later["at"]) == (16, 6, "decoder[2]")
        lines = str(receipt).splitlines()
        assert "scope+then=decoder[2]@3@8 on bare tensors at 'vision': 40 -> 16 visual tokens (40.0% kept)" in lines[0]
        place = next(number for number, line in enumerate(lines) if "at 'decoder[2]': 16 -> 6 visual tokens" in line)
        assert place == 4  # behind the first stage, its two images and its signals
        assert "image 1 (prompt 0): 8 -> 3" in lines[place + 2]

    def test_one_stage_says_nothing_of_it(self, registry: scope.Registry) -> None:
        features, saliency = random_case(1, 9)
        pruner = Pruner("scope@3", registry=registry)
        receipt = pruner.receipt(pruner.select(features, saliency=saliency))
        assert receipt.later == ()
        assert "later" not in receipt.to_dict()


def test_layouts_after_a_stage() -> None:
    layout = Layout.of([[4, 4], [6]], prompts=[0, 1])
    after = layout.after([3, 6]).after([1, 0])
    assert [(image.tiles, image.tokens, image.original, image.prompt) for image in after.images] == [
        ((1,), 1, 8, 0),
        ((0,), 0, 6, 1),
    ]
    assert after.stage == 2
    with pytest.raises(ValueError, match="zip"):
        layout.after([3])


def test_threads_and_batches_do_not_share_a_stage(registry: scope.Registry) -> None:
    """A stage is a pruner of its own: its parts are built from its own spec."""
    pruner = Pruner({**PYRAMID, "then": [{"at": "decoder[2]"}]}, registry=registry)
    first, second = pruner.stages
    assert first.parts["selector"] is not second.parts["selector"]
    assert torch.equal(
        first.select(*random_case(1, 80)[:1], saliency=random_case(1, 80)[1]).picks,
        second.select(*random_case(1, 80)[:1], saliency=random_case(1, 80)[1]).picks,
    )

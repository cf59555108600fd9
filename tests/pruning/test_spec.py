"""Ways to write a spec: short forms, tables, files, recipes with overrides, and back to text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import module, with_part

import scope_core as scope
from scope_core import Pruner, PrunerSpec, SpecError
from scope_core.parts import Budget, Recipe


def read(spec: Any, registry: scope.Registry, **overrides: Any) -> Any:
    return Pruner(spec, registry=registry, **overrides).spec


class TestShortForm:
    @pytest.mark.parametrize(
        ("text", "budget"),
        [
            ("scope", {"name": "tokens", "keep": 64}),
            ("scope@32", {"name": "tokens", "keep": 32}),
            ("scope@0", {"name": "tokens", "keep": 0}),
            (" scope@32 ", {"name": "tokens", "keep": 32}),
            ("scope@0.25", {"name": "ratio", "keep_ratio": 0.25}),
            ("scope@25%", {"name": "ratio", "keep_ratio": 0.25}),
            ("scope@12.5%", {"name": "ratio", "keep_ratio": 0.125}),
            ("scope@100%", {"name": "ratio", "keep_ratio": 1.0}),
        ],
    )
    def test_a_recipe_and_its_budget(self, text: str, budget: dict[str, Any], registry: scope.Registry) -> None:
        spec = read(text, registry)
        assert spec.recipe == "scope"
        assert budget.items() <= spec.budget.model_dump().items()

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "'' is not a spec; write a recipe's name and a budget, e.g. 'scope@64' or 'scope@25%'"),
            ("scope@", "the budget is missing: write a count or a percentage after @, e.g. scope@64 or scope@25%"),
            ("scope@6,4", "'6,4' is not a budget: write a count or a percentage after @, e.g. scope@64 or scope@25%"),
            ("scope@64%%", "'64%%' is not a budget: write a count"),
            ("scope@no_cls@6k", "'6k' is not a budget: write a count or a percentage after @, e.g. scope@no_cls@64"),
            ("scope@released", "no recipe is called 'scope@released'"),
            ("spoce@6,4", "no recipe is called 'spoce@6,4'"),
            ("scope@-5", "budget.keep: Input should be greater than or equal to 0 (given: -5)"),
            ("scope@150%", "budget.keep_ratio: Input should be less than or equal to 1 (given: 1.5)"),
            ("scope@0%", "budget.keep_ratio: Input should be greater than 0"),
        ],
    )
    def test_what_it_cannot_mean(self, text: str, complaint: str, registry: scope.Registry) -> None:
        with pytest.raises(SpecError) as caught:
            read(text, registry)
        assert complaint in str(caught.value)

    @pytest.mark.parametrize("thing", [None, 64, ["scope"]])
    def test_other_things_are_no_specs(self, thing: Any, registry: scope.Registry) -> None:
        with pytest.raises(SpecError, match=r"cannot read .* as a spec; give a recipe"):
            read(thing, registry)

    def test_a_recipe_whose_name_has_a_variant(self, registry: scope.Registry) -> None:
        variant = Recipe("scope@released", {"budget": 8, "saliency": "uniform"}, "a variant")
        wider = registry.with_module(module(scope_recipes=[variant]))
        assert read("scope@released", wider).budget.keep == 8
        assert read("scope@released@16", wider).budget.keep == 16
        assert read("scope@released@16", wider).label == "scope@released@16"

    def test_a_remembered_text_means_what_its_registry_says(self, registry: scope.Registry) -> None:
        wider, other = (
            registry.with_module(module(scope_recipes=[Recipe("acme.r", {"budget": 8, "saliency": name}, "")]))
            for name in ("uniform", "feature_norm")
        )
        for _ in range(2):
            assert read("acme.r@9", wider).selector.saliency.name == "uniform"
            assert read("acme.r@9", other).selector.saliency.name == "feature_norm"
            assert read("acme.r@9", wider, budget=7).budget.keep == 7
            for wrong in ("acme.r@9", "scope@-5"):
                with pytest.raises(SpecError):
                    read(wrong, registry)
        for name in registry.names("recipe"):
            table = {"recipe": name, "budget": 9}
            assert read(f"{name}@9", registry) == read(f"{name}@9", registry) == read(table, registry), name

    def test_what_a_caller_may_change_is_not_remembered(self, registry: scope.Registry) -> None:
        wider = with_part(registry, Budget, options={"weights": (list[int], [1, 2])}, plan=lambda *_: (1,))
        recipe = module(scope_recipes=[Recipe("acme.mutable", {"budget": {"name": "acme.fake"}}, "")])
        wider = wider.with_module(recipe, name="another")
        read("acme.mutable", wider).budget.weights.append(3)
        assert read("acme.mutable", wider).budget.weights == [1, 2]


class TestOverrides:
    def test_a_table_without_a_name_changes_single_options(self, registry: scope.Registry) -> None:
        spec = read({"recipe": "scope", "combiner": {"alpha": 2}, "budget": {"per": "total"}}, registry)
        assert spec.selector.combiner.model_dump() == {"name": "product", "alpha": 2.0}
        assert (spec.budget.keep, spec.budget.per) == (64, "total")

    def test_a_name_replaces_the_part_and_its_options(self, registry: scope.Registry) -> None:
        spec = read({"recipe": "scope", "combiner": {"name": "sum"}}, registry, saliency="uniform")
        assert spec.selector.combiner.model_dump() == {"name": "sum", "alpha": 1.0, "normaliser": "none"}
        assert spec.selector.saliency.name == "uniform"
        assert spec.selector.coverage.name == "facility_location"

    @pytest.mark.parametrize("written", ["scope@32", {"recipe": "scope", "budget": 32}, {"budget": 32}])
    def test_keyword_overrides_build_on_what_was_written(self, written: Any, registry: scope.Registry) -> None:
        spec = read(written, registry, budget={"per": "total"})
        assert (spec.budget.keep, spec.budget.per) == (32, "total")

    def test_a_number_takes_the_place_of_a_number_in_the_budget_of_the_recipe(self, registry: scope.Registry) -> None:
        for name in registry.names("recipe"):
            assert read(f"{name}@64", registry, budget=32) == read(f"{name}@32", registry), name
            assert read({"recipe": name, "budget": 0.5}, registry, budget=32) == read(f"{name}@32", registry), name

    def test_overriding_a_spec_object_keeps_the_rest_of_it(self, registry: scope.Registry) -> None:
        first = read("scope@32", registry, constraints=[{"name": "cells", "keep": [[0, 0]]}], at="projected")
        spec = read(first, registry, combiner={"alpha": 2})
        assert spec.selector.combiner.alpha == 2
        assert (spec.recipe, spec.budget.keep, spec.at) == ("scope", 32, "projected")
        assert spec.constraints == first.constraints

    def test_what_a_spec_object_has_emptied_does_not_come_back_from_its_recipe(self, registry: scope.Registry) -> None:
        cells = [{"name": "cells", "keep": [[0, 0]]}]
        wider = registry.with_module(
            module(scope_recipes=[Recipe("acme.cells", {"constraints": cells, "budget": 8}, "with a constraint")])
        )
        emptied = read("acme.cells", wider, constraints=[])
        assert emptied.constraints == ()
        assert read(emptied, wider, budget=4).constraints == ()

    def test_a_whole_selector_replaces_the_parts(self, registry: scope.Registry) -> None:
        chain = {"name": "chain", "stages": ["composite"], "shares": [1]}
        for written in ("scope@4", read("scope@4", registry), {"saliency": "uniform", "budget": 4}):
            assert read(written, registry, selector=chain).selector.name == "chain"

    def test_a_misspelt_override_is_refused(self, registry: scope.Registry) -> None:
        with pytest.raises(SpecError, match="did you mean 'budget'"):
            read("scope@4", registry, budgett=8)


class TestRoundTrips:
    SPECS = (
        "scope@4",
        {"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 0.3, "per": "tile"}, "dtype": "as_is"},
        {"saliency": "uniform", "budget": 4, "constraints": [{"name": "cells", "keep": [[0, 1], [2, 3]]}]},
        {
            "selector": {
                "name": "chain",
                "stages": [{"name": "composite", "coverage": "modular"}, "composite"],
                "shares": [3, 1],
            },
            "budget": 8,
        },
    )

    @pytest.mark.parametrize("written", SPECS)
    def test_json_and_yaml_give_back_an_equal_spec(
        self, written: Any, registry: scope.Registry, tmp_path: Path
    ) -> None:
        spec = read(written, registry)
        assert PrunerSpec.model_validate_json(spec.model_dump_json(), context={"registry": registry}) == spec
        long_form = spec.to_dict(registry)
        assert json.loads(json.dumps(long_form)) == long_form
        assert yaml.safe_load(spec.to_yaml(registry)) == long_form
        for name, text in (("a.yaml", spec.to_yaml(registry)), ("a.json", json.dumps(long_form))):
            (tmp_path / name).write_text(text)
            again = read(tmp_path / name, registry)
            assert again.model_copy(update={"recipe": spec.recipe}) == spec

    def test_the_long_form_of_the_design(self, registry: scope.Registry) -> None:
        lines = read("scope", registry).to_yaml(registry).splitlines()
        for line in (
            "saliency: {name: cls_attention, layer: -2, heads: sum}",
            "similarity: cosine",
            "coverage: facility_location",
            "combiner: {name: product, alpha: 1.0}",
            "optimizer: {name: greedy, path: auto}",
            "at: vision",
        ):
            assert line in lines

    def test_labels(self, registry: scope.Registry) -> None:
        assert read("scope@25%", registry).label == "scope@25%"
        assert read({"budget": 4}, registry).label == "custom@4"
        wider = with_part(registry, Budget, plan=lambda self, layout, groups: (0,))
        assert read({"budget": "acme.fake"}, wider).label == "custom@acme.fake"


class TestFiles:
    def test_a_file_is_read_by_path_or_text(self, registry: scope.Registry, tmp_path: Path) -> None:
        path = tmp_path / "pruner.yaml"
        path.write_text("recipe: scope\nbudget: 8\n")
        assert read(path, registry) == read(str(path), registry) == read("scope@8", registry)

    @pytest.mark.parametrize(
        ("name", "text", "complaint"),
        [
            ("a.yaml", "recipe: scope\nbudget: 3\nbudget: 4\n", ["not valid YAML: 'budget' is given twice", "line 3"]),
            ("a.yaml", "combiner: {alpha: 3, alpha: 4}\n", ["'alpha' is given twice", "line 1, column 22"]),
            ("a.json", '{"recipe": "scope", "recipe": "x"}', ["not valid JSON: 'recipe' is given twice"]),
            ("a.json", "{", ["not valid JSON"]),
            ("a.yaml", "recipe: [scope\n", ["not valid YAML", "line 1"]),
            ("a.yaml", "recipe: scope\n---\nbudget: 4\n", ["not valid YAML: expected a single document"]),
            ("a.yaml", "", ["is empty; write e.g. `recipe: scope`"]),
            ("a.yaml", "scope@64", ["holds 'scope@64' instead of a table"]),
            ("a.yaml", "recipe: scope\non: 3\n", ["there is no option True", "unquoted on, off, yes or no"]),
            ("a.yaml", "? [a]\n: b\n", ["not valid YAML", "unhashable key"]),
            ("a.yaml", "recipe: !!python/object/apply:os.getcwd []\n", ["not valid YAML", "python/object"]),
        ],
    )
    def test_a_wrong_file_is_named(
        self, name: str, text: str, complaint: list[str], registry: scope.Registry, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(SpecError) as caught:
            read(tmp_path / name, registry)
        for part in (str(tmp_path / name), *complaint):
            assert part in str(caught.value)

    def test_a_missing_file_suggests_its_neighbour(self, registry: scope.Registry, tmp_path: Path) -> None:
        (tmp_path / "pruner.yaml").write_text("recipe: scope\n")
        with pytest.raises(SpecError, match=r"cannot read spec file .*No such file.*did you mean 'pruner.yaml'"):
            read(tmp_path / "prunner.yaml", registry)

    def test_unreadable_files(self, registry: scope.Registry, tmp_path: Path) -> None:
        (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path, tmp_path / "binary.yaml"):
            with pytest.raises(SpecError, match="cannot read spec file"):
                read(path, registry)

    def test_names_in_a_file_are_never_imported(self, registry: scope.Registry, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("recipe: scope\nsaliency: 'os:getcwd'\n")
        with pytest.raises(SpecError, match="no saliency source is called 'os:getcwd'"):
            read(tmp_path / "a.yaml", registry)


@pytest.mark.parametrize(
    ("spec", "short"),
    [
        ({"recipe": "scope", "budget": "25%"}, "scope@25%"),
        ({"recipe": "divprune@official", "budget": "12.5%"}, "divprune@official@12.5%"),
        ({"budget": "25%"}, {"budget": 0.25}),
        (
            {"recipe": "scope", "then": [{"recipe": "fastv", "budget": "50%"}]},
            {"recipe": "scope", "then": ["fastv@50%"]},
        ),
    ],
)
def test_a_percentage_in_a_table_is_what_it_is_after_the_name(spec: Any, short: Any, registry: scope.Registry) -> None:
    assert read(spec, registry) == read(short, registry)


class TestHints:
    """What newcomers write first is answered with what to write."""

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ({"recipe": "scope@32"}, "In a table, write them separately: `recipe: scope` and `budget: 32`"),
            ({"recipe": "scope@25%"}, "`recipe: scope` and `budget: 0.25`"),
            ({"recipe": "scope", "budget": "64"}, "Write the number without quotes: `budget: 64`"),
            (
                {"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": "25%"}},
                "a number; write 0.25 (given: '25%')",
            ),
            ({"recipe": "scope", "saliency": "25%"}, "no saliency source is called '25%'"),
        ],
    )
    def test_a_budget_in_the_wrong_place(self, spec: dict[str, Any], text: str, registry: scope.Registry) -> None:
        with pytest.raises(scope.SpecError) as caught:
            scope.Pruner(spec, registry=registry)
        assert text in str(caught.value)

    def test_no_hint_where_it_would_be_wrong(self, registry: scope.Registry) -> None:
        for spec in (
            {"recipe": "scpe@32"},
            {"recipe": "scope", "budget": "tokns"},
            {"recipe": "scope", "saliency": "3"},
        ):
            with pytest.raises(scope.SpecError) as caught:
                scope.Pruner(spec, registry=registry)
            assert "In a table" not in str(caught.value)
            assert "without quotes" not in str(caught.value)

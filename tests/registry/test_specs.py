"""Open slots: any installed part by name, and an error a stranger can act on for everything else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from fakes import entry, module, spec_named, with_part
from pydantic import BaseModel, Field, ValidationError, model_validator

import scope_core as scope
from scope_core import Pruner, PrunerSpec, SpecError
from scope_core.parts import ComponentSpec, Entry, SaliencySource, Slot


def parse(model: type[BaseModel], data: Any, registry: scope.Registry) -> Any:
    return model.model_validate(data, context={"registry": registry})


def complaint(spec: Any, registry: scope.Registry) -> str:
    with pytest.raises(SpecError) as caught:
        Pruner(spec, registry=registry)
    return str(caught.value)


class TestErrors:
    """What was given, where, what is allowed, the nearest name."""

    @pytest.mark.parametrize(
        ("spec", "texts"),
        [
            ("scpe@64", ["spec 'scpe@64'", "no recipe is called 'scpe' (did you mean 'scope'?)", "Installed: "]),
            ("scope@no_cls@64,random", ["these are 2 specs; give one, and others to compare it with separately"]),
            (
                {"recipe": "scope", "saliency": "cls_atention"},
                [
                    "saliency: no saliency source is called 'cls_atention' (did you mean 'cls_attention'?)",
                    "Installed: ",
                ],
            ),
            (
                {"recipe": "scope", "saliency": "cosine"},
                ["saliency: no saliency source is called 'cosine'", "('cosine' is the name of a similarity)"],
            ),
            (
                {"recipe": "scope", "combiner": {"name": "product", "alfa": 1}},
                ["combiner: combiner 'product' has no option 'alfa' (did you mean 'alpha'?). Options: alpha"],
            ),
            (
                {"recipe": "scope", "combiner": {"name": "coverage_only", "alpha": 1}},
                ["combiner 'coverage_only' has no option 'alpha'", "'alpha' is an option of product, sum"],
            ),
            ({"recipe": "scope", "combiner": {"alpha": -1}}, ["combiner.alpha: ", "equal to 0 (given: -1)"]),
            ({"recipe": "scope", "combiner": {"alpha": "big"}}, ["combiner.alpha: ", "(given: 'big')"]),
            ({"recipe": "scope", "combiner": {"alpha": float("nan")}}, ["combiner.alpha: ", "finite", "nan"]),
            ({"recipe": "scope", "saliency": 0.5}, ["saliency: cannot read 0.5 as a saliency; give a name"]),
            ({"recipe": "scope", "saliency": None}, ["saliency: cannot read None as a saliency"]),
            ({"recipe": "scope", "budget": True}, ["budget: cannot read True as a budget"]),
            (
                {"saliency": "uniform", "budget": {"keep": 5}},
                ["budget: this budget has no name ('keep' belongs to ", "tokens); write {name: ..., ...}"],
            ),
            (
                {"recipe": "scope", "budget": {"name": "tokens", "keep": 5, "keep_ratio": 0.5}},
                ["budget 'tokens' has no option 'keep_ratio'", "'keep_ratio' is an option of ratio"],
            ),
            (
                {"recipe": "scope", "budget": 4, "combiner": {"name": "product", "alfa": 1, "beta": 2, "alpha": -1}},
                ["no option 'alfa'", "no option 'beta'", "combiner.alpha: Input should be greater than or equal to 0"],
            ),
            ({"saliency": "uniform"}, ["budget: no budget is given; write e.g. `budget: 64`"]),
            ({"recipe": "scope", "budgett": 3}, ["there is no option 'budgett' (did you mean 'budget'?)", "Options: "]),
            (
                {"recipe": "scope", "dtype": "half"},
                ["dtype: Input should be 'float32', 'float64' or 'as_is'", "'half'"],
            ),
            (
                {"recipe": "scope", "constraints": "cells"},
                ["constraints: give a list of constraint parts, not 'cells'"],
            ),
            (
                {"selector": "composite", "saliency": "uniform", "budget": 4},
                ["saliency and 'selector' are both given; move saliency into the selector"],
            ),
            ({"recipe": "scope", True: 3}, ["there is no option True", "YAML reads an unquoted on, off, yes or no"]),
            ({"recipe": "scope", "combiner": {"name": "product", 1: 2}}, ["combiner: there is no option 1"]),
        ],
    )
    def test_text(self, spec: Any, texts: list[str], registry: scope.Registry) -> None:
        message = complaint(spec, registry)
        for text in texts:
            assert text in message

    def test_paths_lead_into_lists_and_nested_parts(self, registry: scope.Registry) -> None:
        bad_stage = {"name": "composite", "combiner": {"name": "product", "alpha": -1}}
        chain = {"name": "chain", "stages": ["composite", bad_stage], "shares": [1, 1]}
        assert "selector.stages.1.combiner.alpha: " in complaint({"selector": chain, "budget": 4}, registry)
        cells = ["cells", {"name": "cells", "kep": []}]
        assert "constraints.1: constraint 'cells' has no option 'kep'" in complaint(
            {"recipe": "scope", "constraints": cells}, registry
        )

    def test_every_wrong_place_is_listed(self, registry: scope.Registry) -> None:
        message = complaint({"recipe": "scope", "budget": -1, "combiner": {"alpha": -1}, "at": 3}, registry)
        assert "is wrong in 3 places:" in message
        for place in ("budget.keep: ", "combiner.alpha: ", "at: "):
            assert f"\n  {place}" in message

    def test_a_strangers_broken_validator_is_named(self, registry: scope.Registry) -> None:
        class BrokenSpec(ComponentSpec):
            name: Literal["acme.broken"] = "acme.broken"

            @model_validator(mode="after")
            def _check(self) -> BrokenSpec:
                raise KeyError("oops")

        record = Entry(BrokenSpec, "acme:Nothing", "broken")
        wider = registry.with_module(module(scope_saliency_sources=[record]))
        message = complaint({"recipe": "scope", "saliency": "acme.broken"}, wider)
        assert "saliency: the spec of saliency 'acme.broken' (this process) raised KeyError('oops')" in message


class TestValues:
    def test_specs_are_frozen_and_hashable(self, registry: scope.Registry) -> None:
        spec, twin = Pruner("scope@4", registry=registry).spec, Pruner("scope@4", registry=registry).spec
        with pytest.raises(ValidationError, match="frozen"):
            spec.at = "projected"  # type: ignore[misc]
        with pytest.raises(ValidationError, match="frozen"):
            spec.budget.keep = 5  # type: ignore[attr-defined]
        assert spec == twin
        assert len({spec, twin, Pruner("scope@5", registry=registry).spec}) == 2

    @pytest.mark.parametrize("written", ["uniform", {"name": "uniform"}])
    def test_a_slot_takes_a_name_a_table_or_an_object(self, written: Any, registry: scope.Registry) -> None:
        spec = parse(PrunerSpec, {"saliency": written, "budget": 4}, registry)
        again = parse(PrunerSpec, {"saliency": spec.selector.saliency, "budget": spec.budget}, registry)
        assert again == spec

    def test_numpy_numbers_are_numbers(self, registry: scope.Registry) -> None:
        import numpy as np

        assert Pruner("scope", registry=registry, budget=np.int64(5)).spec.budget.keep == 5  # type: ignore[attr-defined]
        assert Pruner("scope", registry=registry, budget=np.float64(0.5)).spec.budget.keep_ratio == 0.5  # type: ignore[attr-defined]

    def test_an_object_of_another_kind_is_refused(self, registry: scope.Registry) -> None:
        budget = Pruner("scope@4", registry=registry).spec.budget
        message = complaint({"recipe": "scope", "saliency": budget}, registry)
        assert "TokensSpec is not the spec of an installed saliency ('tokens' is registered as: budget)" in message

    def test_a_spec_of_a_part_that_is_not_installed_is_refused(self, registry: scope.Registry) -> None:
        stranger = spec_named("acme.unheard")()
        assert "is registered as: none" in complaint({"recipe": "scope", "saliency": stranger}, registry)


class TestSlotsOfPlugins:
    """Plugins may declare slots themselves; defaults and empty slots behave as an author expects."""

    def test_a_slots_default_may_be_a_bare_name(self, registry: scope.Registry) -> None:
        options = {
            "inner": (Annotated[ComponentSpec, Slot("saliency")], "feature_norm"),
            "extra": (Annotated[ComponentSpec | None, Slot("saliency", optional=True)], None),
        }
        members = {"score": lambda self, tokens: self.parts["inner"].score(tokens)}
        wider = with_part(registry, SaliencySource, options=options, **members)
        pruner = Pruner({"recipe": "scope", "saliency": "acme.fake", "budget": 2}, registry=wider)
        source = pruner.spec.selector.saliency  # type: ignore[attr-defined]
        assert source.inner.name == "feature_norm"
        assert source.extra is None
        assert {part.spec.name for part in pruner.walk()} >= {"acme.fake", "feature_norm"}

    def test_a_required_slot_left_out_gets_the_default_of_its_kind(self, registry: scope.Registry) -> None:
        options = {"inner": (Annotated[ComponentSpec, Slot("similarity")], Field())}
        wider = with_part(registry, SaliencySource, options=options, score=lambda self, tokens: None)
        spec = parse(wider.get("saliency", "acme.fake").spec, {"name": "acme.fake"}, wider)
        assert spec.inner.name == registry.default("similarity").name  # type: ignore[union-attr]

    def test_a_required_list_left_out_is_missing(self, registry: scope.Registry) -> None:
        message = complaint({"selector": "chain", "budget": 4}, registry)
        assert "selector.stages: Field required" in message
        assert "selector.shares: Field required" in message

    def test_an_option_set_to_none_survives_a_round_trip(self, registry: scope.Registry) -> None:
        options = {"window": (int | None, 5)}
        wider = with_part(registry, SaliencySource, options=options, score=lambda self, tokens: None)
        pruner = Pruner({"saliency": {"name": "acme.fake", "window": None}, "budget": 2}, registry=wider)
        again = Pruner(pruner.spec.to_dict(wider), registry=wider)
        assert again.spec == pruner.spec
        assert again.spec.selector.saliency.window is None  # type: ignore[attr-defined]


class TestIsolation:
    def test_names_come_from_the_registry_in_the_context(self, registry: scope.Registry) -> None:
        wider = with_part(registry, SaliencySource, score=lambda self, tokens: None)
        assert parse(PrunerSpec, {"saliency": "acme.fake", "budget": 4}, wider).selector.saliency.name == "acme.fake"
        with pytest.raises(ValidationError, match=r"no saliency source is called 'acme\.fake'"):
            parse(PrunerSpec, {"saliency": "acme.fake", "budget": 4}, registry)
        with pytest.raises(ValidationError, match=r"no saliency source is called 'acme\.fake'"):
            PrunerSpec.model_validate({"saliency": "acme.fake", "budget": 4})

    def test_an_empty_registry_says_what_to_run(self) -> None:
        assert "No plugins are installed at all: run `pip install scope-core`" in complaint("scope", scope.Registry())


class TestSpecModels:
    @pytest.mark.parametrize(
        "annotation", [(str, "acme.x"), (Literal["acme.x", "acme.y"], "acme.x"), (Literal["acme.x"], ...)]
    )
    def test_a_name_that_is_no_single_literal_is_refused_with_the_line_to_write(self, annotation: Any) -> None:
        from pydantic import create_model

        model = create_model("LooseSpec", __base__=ComponentSpec, name=annotation)
        with pytest.raises(TypeError, match='name: Literal\\["my_part"\\] = "my_part"'):
            Entry(model, "acme:Nothing", "loose")

    def test_a_fake_part_has_the_name_it_was_given(self) -> None:
        assert entry(SaliencySource, "acme.fake").name == "acme.fake"

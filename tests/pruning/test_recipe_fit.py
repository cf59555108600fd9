"""Which recipes run on a model: by its declaration alone, without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import module

import scope_core as scope
from scope_core.adapters import Declaration, Offer, RecipeFit, recipe_fits
from scope_core.parts import Recipe
from scope_core.pruning.recipe_fit import check_fit

CLS, RECEIVED = Offer("vision.cls_attention", 24), Offer("vision.received_attention", 24)
BASE = {
    "similarity": "cosine",
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": {"name": "tokens", "keep": 4},
}
TOWER = Declaration("Toy", points={"vision": "", "projected": ""}, offers=(CLS, RECEIVED), has_cls=True)
BLIND = replace(TOWER, offers=(RECEIVED,), has_cls=False, reasons={"vision.cls_attention": "it has no CLS token"})


@pytest.fixture
def registry() -> scope.Registry:
    spec = {**BASE, "at": "vision"}
    recipes = [
        Recipe("toy", {**spec, "saliency": {"name": "cls_attention", "layer": -2}}, "by CLS"),
        Recipe("toy@blind", {**spec, "saliency": {"name": "received_attention", "layer": -2}}, "without"),
        Recipe("toy@deep", {**spec, "saliency": {"name": "received_attention", "layer": 30}}, "too deep"),
        Recipe("other", {**spec, "saliency": {"name": "cls_attention", "layer": -2}}, "another method"),
    ]
    return scope.default_registry().with_module(module(scope_recipes=recipes), name="toys")


def fits(declaration: Declaration, registry: scope.Registry) -> dict[str, RecipeFit]:
    return {fit.recipe: fit for fit in recipe_fits(declaration, registry=registry)}


def test_recipes_run_run_as_a_variant_or_cannot(registry: scope.Registry) -> None:
    there = fits(TOWER, registry)
    assert str(there["toy"]) == "runs"
    assert there["toy"].variants == ()
    blind = fits(BLIND, registry)
    assert not blind["toy"].runs
    assert blind["toy"].variants == ("toy@blind",)
    assert str(blind["toy"]) == "runs as toy@blind"
    assert blind["toy@blind"].runs
    assert blind["other"].variants == ()
    assert str(blind["other"]).startswith("cannot run: saliency 'cls_attention'")
    assert "vision.received_attention[30]" in blind["toy@deep"].why


def test_the_error_names_the_variants_that_run(registry: scope.Registry) -> None:
    more = Recipe("toy@last", {**BASE, "at": "vision", "saliency": {"name": "received_attention", "layer": -1}}, "last")
    for known, variants in (
        (registry, "toy@blind does"),
        (registry.with_module(module(scope_recipes=[more]), name="more"), "toy@blind, toy@last do"),
    ):
        with pytest.raises(scope.SignalError, match=f"^recipe 'toy' does not run on Toy, but {variants}: saliency"):
            check_fit(scope.Pruner("toy", registry=known), BLIND)


def test_every_recipe_is_asked(registry: scope.Registry) -> None:
    assert list(fits(BLIND, registry)) == registry.names("recipe")


def test_folders_that_describe_no_model(tmp_path: Path) -> None:
    for text in (None, "[]", "{", '{"model_type": "bert"}'):
        if text is not None:
            (tmp_path / "config.json").write_text(text)
        with pytest.raises(scope.AdapterError, match="no adapter reads a model from the folder"):
            recipe_fits(tmp_path)


class TestOffers:
    """Layers of towers that attend in windows."""

    WINDOWED = Offer("vision.received_attention", 32, whole=(8, 16, 24, 32))

    @pytest.mark.parametrize(
        ("layer", "meant"),
        [(-1, 32), (-2, 24), (-4, 8), (-5, None), (1, 8), (8, 8), (9, 16), (32, 32), (33, None), (0, None)],
    )
    def test_a_layer_means_the_one_that_corresponds(self, layer: int, meant: int | None) -> None:
        assert self.WINDOWED.layer_of(layer) == meant
        assert self.WINDOWED.covers(f"vision.received_attention[{layer}]") == (meant is not None)

    @pytest.mark.parametrize(("layer", "meant"), [(-1, 24), (-24, 1), (-25, None), (1, 1), (25, None), (0, None)])
    def test_other_towers_count_all_layers(self, layer: int, meant: int | None) -> None:
        assert RECEIVED.layer_of(layer) == meant

    def test_the_receipt_says_which_it_was(self) -> None:
        windowed = replace(BLIND, offers=(self.WINDOWED,))
        name = "vision.received_attention[-2]"
        (note,) = windowed.notes("vision", frozenset({name}), merges=False)
        assert note == f"{name} is that of layer 24 of 32: other layers attend in windows"
        assert windowed.notes("projected", frozenset(), merges=True) == ()
        assert len(windowed.notes("vision", frozenset(), merges=True)) == 1

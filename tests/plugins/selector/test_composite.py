"""`composite`: the selector that recipes are made of."""

from __future__ import annotations

import pytest
from fakes import built

import scope_core as scope
from plugins.selector.cases import FEATURES, SALIENCY


def test_composite_is_what_a_recipe_is_made_of(registry: scope.Registry) -> None:
    short = scope.select(FEATURES, saliency=SALIENCY, spec="scope@8").picks
    assert scope.select(FEATURES, saliency=SALIENCY, spec={"selector": "composite", "budget": 8}).picks.equal(short)


@pytest.mark.parametrize(
    ("parts", "asked"),
    [
        ({}, {"saliency", "similarity", "coverage", "combiner", "optimizer"}),
        ({"combiner": "coverage_only"}, {"similarity", "coverage", "combiner", "optimizer"}),
        ({"combiner": "saliency_only"}, {"saliency", "combiner", "optimizer"}),
        ({"coverage": "modular"}, {"saliency", "coverage", "combiner", "optimizer"}),
    ],
)
def test_composite_names_only_the_parts_it_will_ask(
    parts: dict[str, str], asked: set[str], registry: scope.Registry
) -> None:
    selector = built(registry, "selector", {"name": "composite", **parts})
    assert {part.kind for part in selector.walk()} == {"selector", *asked}

"""Budgets that cannot be met: errors name the image, the tile or the stage."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import built

import scope_core as scope
from plugins.budget.cases import counts
from scope_core import BudgetError, Pruner, SpecError


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (
            {"keep": 9},
            "budget 'tokens' keeps 9 per image, but image 1 has 8 tokens; lower `keep`, or set `if_short: keep_all`",
        ),
        ({"keep": 5, "per": "tile"}, "keeps 5 per tile, but image 1, tile 0 has 4 tokens"),
        ({"keep": 19, "per": "total"}, "keeps 19 per total, but all images together has 18 tokens"),
        (0.05, "budget 'ratio' of 0.05 keeps none of the 8 tokens of image 1; raise it, or set `budget: 0`"),
    ],
)
def test_what_cannot_be_met_names_the_unit(budget: Any, text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        counts(budget, [[10], [4, 4]])
    assert text in str(caught.value)


def test_both_are_exact_and_not_adaptive(registry: scope.Registry) -> None:
    assert not built(registry, "budget", {"name": "tokens", "keep": 4}).adaptive
    assert not built(registry, "budget", {"name": "ratio", "keep_ratio": 0.5}).adaptive
    assert Pruner("scope@4").plan([10]).exact


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"name": "staged", "keep": [5, 3]}, "2 numbers.*3 stages"),
        ({"name": "staged", "ratios": [0.5, 0.2, 0.3]}, "grows"),
        ({"name": "staged"}, "either `keep` or `ratios`"),
        (
            {"name": "staged", "keep": [700, 5, 3]},
            "keeps 700 tokens of image 0 after stage 0 of 3, but it has only 576",
        ),
        ({"name": "average", "layers": 32}, "give `keep`"),
        ({"name": "average", "keep": 200, "layers": 16}, "has `layers: 16`, but a stage is at"),
        ({"name": "lookup", "keep": 1, "rows": [[1, 5, 3]]}, "counts for 2 stages, but there are 3"),
        ({"name": "stepped", "keep": 576, "step": 8, "plus": 4}, "keeps 580 tokens"),
    ],
)
def test_budgets_of_several_stages_that_cannot_be_met(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Pruner({"recipe": "pyramiddrop", "budget": budget}).plan([576])

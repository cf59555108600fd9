"""Selections of recipes that no other record holds, as they were: a change of picks is to be made on purpose.

What these recipes should pick is tested against oracles elsewhere; here is what they did pick. To record anew, after
looking at why, write `recorded()` of each into ``golden/others.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Photos

import scope_core as scope
from plugins.recipes.test_recipes import TestEveryRecipe, amount_of, signals_for

GOLDEN = Path(__file__).parent / "golden"
OTHERS = json.loads((GOLDEN / "others.json").read_text("utf-8"))


def recorded(name: str, photos: Photos) -> list[list[int]]:
    """Picks of a recipe on three photographs, with made-up signals."""
    pruner = scope.Pruner(f"{name}@{amount_of(name)}")
    given = {"saliency": photos.saliency, "grid": photos.grid, "signals": signals_for(pruner, photos.features)}
    return pruner.select(photos.features, **given).picks.tolist()


@pytest.mark.parametrize("name", OTHERS)
def test_picks_are_those_recorded(name: str, photo_features: Photos) -> None:
    """Photographs that are not recorded have near ties, which releases of torch round differently; so do picks that are
    not: those of `cdpruner@official` beyond the rank of its kernel.
    """
    found = recorded(name, photo_features)
    assert [row[: len(wanted)] for row, wanted in zip(found, OTHERS[name], strict=False)] == OTHERS[name]


def test_every_recipe_is_recorded_somewhere() -> None:
    records = " ".join(path.read_text("utf-8") for path in GOLDEN.glob("*.json"))
    assert [name for name in TestEveryRecipe.RECIPES if f'"{name}' not in records] == []

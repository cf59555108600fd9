"""CDPruner, MMTok and DivPrune on features of a real tower, up to 192 tokens, one and several tiles."""

from __future__ import annotations

import numpy as np
import pytest
from plugins.recipes.test_diversity_methods import METHODS, Case, judge

import scope_core as scope
from photographs.conftest import Encoded

pytestmark = pytest.mark.tower


@METHODS
@pytest.mark.parametrize(("photo", "keep"), [(0, 16), (1, 64), (2, 192)])
def test_picks_are_the_oracles(encoded: Encoded, method: str, photo: int, keep: int) -> None:
    """The tower's features before the projector, mixed into made-up projected tokens and texts."""
    case = Case(photo, 576, 512, encoded.tokens.features[photo].numpy())
    got = case.select(f"{method}@{keep}").picks[0].tolist()
    judge(got, getattr(case, method)(), 576, 1e-6)


@pytest.mark.parametrize("method", ["cdpruner", "mmtok"])
def test_several_tiles(encoded: Encoded, method: str) -> None:
    """Three photographs as the tiles of one image; releases select K in each (DivPrune's in all at once)."""
    features = np.concatenate([encoded.tokens.features[photo, 100:292].numpy() for photo in (3, 4, 5)])
    case = Case(9, 576, 512, features)
    layout = scope.Layout.of([[192, 192, 192]])
    got = case.select({"recipe": f"{method}@official", "dtype": "float32", "budget": 48}, layout=layout)
    raw = -case.clip.astype(np.float64).mean(0)
    extra = {"offset": 1e-6, "low": raw.min(), "high": raw.max()} if method == "cdpruner" else {}
    for start in (0, 192, 384):
        mine = [pick - start for pick in got.picks[0].tolist() if start <= pick < start + 192]
        judge(mine, getattr(case, method)(slice(start, start + 192), **extra), 192, 1e-6)

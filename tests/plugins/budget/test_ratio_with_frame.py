"""`ratio_with_frame`: the share, and the first frame at the least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 100))
def test_the_budget_is_the_first_frame_at_the_least(frames: list[int], percent: int) -> None:
    spec = {"recipe": "evs", "budget": percent / 100}
    plan = scope.Pruner(spec).plan(Layout.of(frames))
    assert plan.counts == (max(frames[0], sum(frames) * percent // 100),)


def test_tiles_as_frames() -> None:
    spec = {"recipe": "evs", "partition": "image", "budget": {"keep_ratio": 0.1, "frame": "tile"}}
    assert scope.Pruner(spec).plan(Layout.of([[7, 50], [30]])).counts == (7, 30)

"""`video`: groups and counts of videos, in plans and on tokens; images of a prompt are frames, too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout, Pruner, VisualTokens
from scope_core.parts import Span, apportion

LAYOUT = Layout.of([2, [3, 4], 5, [6]], prompts=[0, 0, 0, 1], videos=[1, 3])


def spec(**options: Any) -> dict[str, Any]:
    return {"recipe": "divprune", "at": "projected", **options}


def test_groups(registry: scope.Registry) -> None:
    split = {name: built(registry, "partition", name).split(LAYOUT) for name in ("frame", "video")}
    frames = [Span(0, 0, 2), Span(1, 0, 3), Span(1, 3, 7), Span(2, 0, 5), Span(3, 0, 6)]
    assert split["frame"] == tuple((span,) for span in frames)
    assert split["video"] == ((Span(0, 0, 2), Span(2, 0, 5)), (Span(1, 0, 7),), (Span(3, 0, 6),))


@given(
    st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=7), min_size=1, max_size=3),
    st.integers(0, 200),
    st.sampled_from(["frame", "video"]),
    st.sampled_from(["frame", "video", "image", "prompt", "tile"]),
)
def test_sums_are_exact_for_odd_frames_and_grids(videos: list[list[int]], keep: int, per: str, partition: str) -> None:
    budget = {"name": "tokens", "keep": keep, "per": per, "if_short": "keep_all"}
    plan = Pruner(spec(budget=budget, partition=partition)).plan(Layout.of(videos, videos=range(len(videos))))
    units = [sum(video) for video in videos] if per == "video" else [size for video in videos for size in video]
    assert plan.total == sum(min(keep, size) for size in units)
    if (per, partition) == ("video", "frame"):
        assert list(plan.counts) == [n for v in videos for n in apportion(min(keep, sum(v)), v)]


def test_images_of_a_prompt_are_selected_as_the_frames_of_a_video() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 20, 8)
    tokens = VisualTokens.of(features, grid=(4, 5))
    as_images = Pruner(spec(budget={"name": "tokens", "keep": 7, "per": "video"}, partition="video")).prune(tokens)
    as_video = scope.select(features.view(60, 8), spec=spec(budget=7, partition="video"), grid=(3, 4, 5))
    assert as_images.mask.flatten().tolist() == as_video.mask.flatten().tolist()


def test_the_layout_tells_frames_and_times() -> None:
    """What parts read of frames is that of the plan; padding and images have none."""
    video = Layout.of([3, [2, 3]], videos=[1]).images[1]
    layout = Layout((Layout.of([3]).images[0], type(video)(video.tiles, frames=video.frames, times=(0.0, 0.5))))
    tokens = VisualTokens.of(torch.randn(2, 5, 4), valid=torch.arange(5) < torch.tensor([[3], [5]]))
    seen = Pruner(spec(budget=2)).prune(tokens, layout).tokens
    assert seen.frame.tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1]]
    assert seen.frames().tolist() == [[0, 0, 0, -1, -1], [0, 0, 1, 1, 1]]
    assert seen.time is not None
    assert seen.time[1].tolist() == [0, 0, 0.5, 0.5, 0.5]
    assert bool(seen.time[0].isnan().all())
    assert seen.name_of(1, 2) == "video 1, frame 1, token 2"
    together = seen.regroup(torch.tensor([[0, 1, 5, 7, -1]]))
    assert together.frames().tolist() == [[0, 0, 1, 2, -1]]


def test_what_cannot_be_met_is_refused_by_name() -> None:
    with pytest.raises(scope.BudgetError, match="keeps 7 per frame, but video 1, frame 0 has 3 tokens"):
        Pruner(spec(budget={"name": "tokens", "keep": 7, "per": "frame"}, partition="frame")).plan(
            Layout.of([9, [3, 4]], videos=[1])
        )
    with pytest.raises(scope.BudgetError, match=r"of 0\.1 keeps none of the 2 tokens of image 0"):
        Pruner(spec(budget={"name": "ratio", "keep_ratio": 0.1, "per": "frame"})).plan(LAYOUT)
    shuffled = VisualTokens.of(torch.randn(1, 4, 3), frame=torch.tensor([[1, 0, 1, 0]]))
    with pytest.raises(scope.TokensError, match="video 0: tokens are not in the order of their frames"):
        Pruner(spec(budget=2)).prune(shuffled)
    with pytest.raises(scope.TokensError, match=r"grid \(3, 2, 2\) does not hold N = 13 tokens"):
        VisualTokens.of(torch.randn(13, 3), grid=(3, 2, 2))

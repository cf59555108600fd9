"""`Stream`: frames given one after another keep what they keep in the whole video."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Pruner, Selection

PER_FRAME = {"name": "tokens", "keep": 4, "per": "frame"}
QUOTA = {"name": "frame_quota", "curve": "equal"}
ALONE = (
    *("divprune", "scope@no_cls", "coverage_only", "scissor"),
    *("random", "uniform_grid", "downsample", "prunesid@no_cls"),
)
"""Recipes that take each frame for an image with ``partition: frame``; two merge, one reads the grid."""
WHOLE: dict[str, tuple[str, int]] = {"temporal_difference": ("none", 0), "frame_curvature": ("none", 1)}
"""Saliencies that read frames around their own, and the frames that must follow."""


def table(method: str) -> dict[str, Any]:
    if method in ALONE:
        return {"recipe": method, "partition": "frame", "budget": PER_FRAME, "dtype": "float64"}
    selector = {**QUOTA, "saliency": method}
    parts = {"selector": selector, "merger": "none", "budget": PER_FRAME, "partition": "video", "at": "projected"}
    return {**parts, "dtype": "float64"}


def streamed(pruner: Pruner, video: torch.Tensor, attention: torch.Tensor, grid: tuple[int, int]) -> list[Selection]:
    """The selection of each frame; every frame is decided as soon as ``delay`` frames have followed."""
    stream, found = pruner.stream(), list[Selection]()
    for number, (frame, weight) in enumerate(zip(video, attention, strict=True)):
        found += stream.push(frame, grid=grid, saliency=weight)
        assert len(found) == max(number + 1 - stream.delay, 0)
    return found + stream.close()


@settings(max_examples=4, deadline=None)
@given(frames=st.sampled_from([1, 2, 3, 5, 8]), grid=st.sampled_from([(2, 3), (3, 5)]), seed=st.integers(0, 99))
@pytest.mark.parametrize("method", [*ALONE, *WHOLE])
def test_streamed_is_offline(method: str, frames: int, grid: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = grid[0] * grid[1]
    video = torch.randn(frames, size, 6, generator=generator, dtype=torch.float64)
    attention = torch.rand(frames, size, generator=generator, dtype=torch.float64)
    pruner = Pruner(table(method))
    flat = video.reshape(1, -1, 6)
    offline = pruner.select(flat, grid=(frames, *grid), saliency=attention.reshape(1, -1))
    found = streamed(pruner, video, attention, grid)
    assert len(found) == frames
    kept = [size * number + token for number, one in enumerate(found) for token in one.kept[0].tolist()]
    assert kept == offline.kept[0].tolist()
    scores = dict(zip(offline.picks[0].tolist(), offline.scores[0].tolist(), strict=True))
    for number, one in enumerate(found):
        wanted = [scores[size * number + token] for token in one.picks[0].tolist()]
        assert one.scores[0].tolist() == pytest.approx(wanted, nan_ok=True)
    rows = torch.cat([one.merge(frame[None]) for one, frame in zip(found, video, strict=True)], 1)
    torch.testing.assert_close(rows, offline.merge(flat))
    assert pruner.stream().delay == (WHOLE[method][1] if method in WHOLE else 0)


def test_signals_are_given_by_frame_and_old_frames_are_let_go() -> None:
    signals = [torch.rand(1, 2, 6) for _ in range(6)]
    saliency = {"name": "received_attention", "layer": -2, "heads": "mean"}
    pruner = Pruner({**table("temporal_difference"), "selector": {**QUOTA, "saliency": saliency}})
    stream = pruner.stream()
    for signal in signals:
        (one,) = stream.push(torch.randn(6, 4), grid=(2, 3), signals={"vision.received_attention[-2]": signal})
        assert one.kept[0].tolist() == sorted(signal.mean(1)[0].topk(4).indices.tolist())
        assert len(stream._held) <= 1
    assert stream.close() == []


def test_frames_of_unequal_sizes() -> None:
    stream = Pruner(table("divprune")).stream()
    assert [one.counts for size in (6, 9, 4) for one in stream.push(torch.randn(size, 4))] == [(4,)] * 3
    stream = Pruner(table("temporal_difference")).stream()
    stream.push(torch.randn(6, 4))
    with pytest.raises(scope.TokensError, match=r"frame 1 has shape \(9, 4\).*use `partition: frame`"):
        stream.push(torch.randn(9, 4))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vidcom2", r"saliency 'gaussian_contrast'.*needs the whole video.*use `partition: frame`"),
        ("floc", r"selector 'composite'.*needs the whole video"),
        ("fastvid", r"merger 'anchor_mean'.*may merge tokens of all frames"),
        ("evs", r"constraint 'first_frame'.*on the whole video"),
        ("flashvid@expanded", r"a stage at decoder\[20\], inside the language model"),
    ],
)
def test_methods_that_need_the_whole_video_are_refused(spec: str, message: str) -> None:
    with pytest.raises(scope.SpecError, match=message):
        Pruner(spec).stream()


SHARED = [8, {"name": "ratio", "keep_ratio": 0.3333, "per": "video"}, {"name": "tokens", "keep": 8, "per": "total"}]


@pytest.mark.parametrize("budget", SHARED, ids=str)
def test_budgets_that_frames_share_are_refused(budget: Any) -> None:
    stream = Pruner({**table("divprune"), "budget": budget}).stream()
    with pytest.raises(scope.SpecError, match=r"divides a count among the frames.*keep: 32, per: frame"):
        stream.push(torch.randn(12, 4))


def test_mistakes_are_named() -> None:
    stream = Pruner(table("divprune")).stream()
    with pytest.raises(scope.BudgetError, match="keeps 4 per frame, but video 0, frame 0 has 3 tokens"):
        stream.push(torch.randn(3, 4))
    with pytest.raises(scope.TokensError, match=r"hold 2 frames; push one frame at a time, \(N, D\)"):
        stream.push(torch.randn(2, 9, 4))
    assert stream.close() == []
    with pytest.raises(scope.TokensError, match=r"closed; begin another video with Pruner.stream\(\)"):
        stream.push(torch.randn(9, 4))
    assert repr(stream) == "Stream('divprune+per=frame+partition=frame+dtype=float64@4', 0 frames, 0 decided)"

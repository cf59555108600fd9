"""Plans of videos are upper bounds of what selection takes, copies of vectors included, and not far above it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import watcher
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core.parts import GroupSize

FRAMES, SIDE, WIDTH = 24, 12, 2048
TOKENS = FRAMES * SIDE**2
METHODS = (
    *("scope@video", "scope@by_segment", "scope@by_frame", "vidcom2", "vcast", "evs", "dycoke", "random"),
    *("fastvid", "flashvid", "holitom", "prunevid", "framefusion", "uniform_frames", "divprune"),
)
BESIDE = 16e6
"""Allowance: bytes of what is not counted: small tensors, and what the allocator keeps."""
PADDED = ("scope@by_segment", "fastvid", "flashvid", "holitom", "prunevid")
"""Methods with pieces of unequal sizes, whose padding is not counted: half of the plan more is allowed."""
FAR = 10
"""A plan is at most as many times as high as what is seen, with the allowance."""
PROGRAM = """
import torch
torch.set_num_threads(1)
import scope_core as scope

def scenes(frames, side, width):
    generator = torch.Generator().manual_seed(0)
    video = torch.empty(frames, side * side, width)
    for frame in range(frames):
        new = torch.randn(side * side, width, generator=generator)
        moved = torch.rand(side * side, generator=generator) < (0.5 if frame % 8 else 1.0)
        video[frame] = torch.where(moved[:, None], new, video[frame - 1] + 0.1 * new)
    return video.reshape(1, -1, width)

for spec, frames, side, width in json.loads(sys.argv[1]):
    pruner = scope.Pruner(spec)
    for size in ((4, 3), (frames, side)):  # the first compiles and imports
        features = scenes(*size, width)
        grid, saliency = (size[0], size[1], size[1]), torch.rand(features.shape[:2])
        peak = added(lambda: pruner.select(features, grid=grid, saliency=saliency))
    plan = pruner.plan(scope.Layout.of([[side * side] * frames], videos=[0]))
    print(json.dumps([peak, plan.memory, plan.memory_for(width)]))
"""


def spec_of(method: str) -> dict[str, Any]:
    budget: dict[str, Any] = {"keep_ratio": {"evs": 0.25, "dycoke": 0.475}.get(method, 0.1)}
    if method not in ("evs", "dycoke"):
        budget |= {"name": "ratio", "per": "video"}
    return {"recipe": method, "budget": budget, **({} if method == "scope@by_frame" else {"partition": "video"})}


@watcher.needs_linux
def test_plans_bound_what_the_system_sees() -> None:
    cases = [(spec_of(method), FRAMES, SIDE, WIDTH) for method in METHODS]
    for method, (seen, matrices, planned) in zip(METHODS, watcher.measured(PROGRAM, cases), strict=True):
        padding = planned / 2 if method in PADDED else 0
        assert seen <= planned + padding + BESIDE, method
        assert planned <= FAR * (seen + BESIDE), method
        assert matrices <= planned


def test_what_a_partition_inside_divides_is_planned_by_its_pieces() -> None:
    def memory(layout: scope.Layout, selector: dict[str, Any]) -> int:
        return scope.Pruner({"selector": selector, "partition": "video", "budget": 64}).plan(layout).memory

    video, peaks = scope.Layout.of([[196] * 16], videos=[0]), {"name": "density_peaks"}
    quota = {"name": "quota", "saliency": "uniform", "selector": peaks}
    assert memory(video, peaks) == 3 * 4 * (16 * 196) ** 2
    assert memory(video, {**quota, "partition": "frame"}) == 3 * 4 * 196**2
    assert memory(video, {**quota, "partition": {"name": "segment", "least": 8}}) == 3 * 4 * (9 * 196) ** 2
    assert memory(video, {**quota, "partition": {"name": "chunks", "count": 16}}) == 3 * 4 * 196**2
    images = scope.Layout.of([[196]] * 3)  # of one prompt: frames of one video
    assert memory(images, {**quota, "partition": "frame"}) == 3 * 4 * 196**2


def test_pieces_are_no_larger_than_planned() -> None:
    """Every partition that ships, on videos of random frames."""
    names = [record.name for record in REGISTRY.records("partition")]

    @given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=1, max_size=12))
    def tried(seed: int, frames: list[int]) -> None:
        generator = torch.Generator().manual_seed(seed)
        count = sum(frames)
        number = torch.arange(len(frames)).repeat_interleave(torch.tensor(frames))[None]
        place = torch.cat([torch.arange(size) for size in frames])[None]
        tokens = scope.VisualTokens.of(
            torch.randn(1, count, 4, generator=generator), frame=number, tile=number, row=place, col=place * 0
        )
        size = GroupSize(count, frames)
        for name in names:
            part = REGISTRY.build_named("partition", name)
            if name in ("prompt", "total"):
                continue  # never inside a selector
            labels = part.label(tokens, [max(1, count // 2)])[0]
            assert int(labels.bincount().max()) <= part.largest(size), name

    tried()


@pytest.mark.parametrize("frames", [(3, 4), ()])
def test_a_size_is_a_number(frames: tuple[int, ...]) -> None:
    size = GroupSize(7, frames)
    assert (size, size.frames, size + 1) == (7, frames, 8)


def test_sizes_of_groups_know_their_frames() -> None:
    from scope_core.structures.layout import Span
    from scope_core.structures.sizes import group_sizes

    layout = scope.Layout.of([5, [2, 3, 4]], videos=[1])
    groups = ((Span(0, 0, 5), Span(1, 0, 9)), (Span(1, 1, 6),), (Span(1, 5, 9),))
    assert [size.frames for size in group_sizes(groups, layout)] == [(5, 2, 3, 4), (1, 3, 1), (4,)]
    assert [int(size) for size in group_sizes(groups, layout)] == [14, 5, 4]

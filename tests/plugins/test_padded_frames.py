"""`quota` on frames of unequal sizes, with tokens that are none: padding is never kept, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_core as scope

INSIDE: dict[str, Any] = {
    "greedy": {"name": "composite", "saliency": "feature_norm"},
    "top-k": {"name": "composite", "saliency": "feature_norm", "combiner": "saliency_only", "optimizer": "top_k"},
    "grid": {
        "name": "composite",
        "saliency": "uniform",
        "combiner": "coverage_only",
        "coverage": "modular",
        "optimizer": "grid",
    },
    "peaks": {"name": "density_peaks", "merge": True},
    "trees": {"name": "trees", "link": "cell", "selector": {"name": "density_peaks", "merge": True}},
    "chain": {
        "name": "chain",
        "shares": [1, 1],
        "stages": [{"name": "composite", "saliency": "feature_norm"}, {"name": "density_peaks"}],
    },
}
PARTITIONS: tuple[Any, ...] = ("frame", {"name": "segment", "least": 3}, "still_segments", "frame_clusters", "chunks")


def video(seed: int, sizes: list[int], gone: list[int]) -> tuple[scope.VisualTokens, torch.Tensor]:
    """Frames of so many rows of three, and the tokens that are none, which hold NaN."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.arange(len(sizes)).repeat_interleave(3 * torch.tensor(sizes))
    place = torch.cat([torch.arange(3 * size) for size in sizes])
    features = torch.randn(len(frame), 5, generator=generator)
    valid = torch.ones(len(frame), dtype=torch.bool)
    valid[[number % len(frame) for number in gone]] = False
    features[~valid] = torch.nan
    planes = {"frame": frame, "tile": frame, "row": place // 3, "col": place % 3}
    tokens = scope.VisualTokens.of(
        features[None], valid=valid[None], **{name: plane[None] for name, plane in planes.items()}
    )
    return tokens, valid


@pytest.mark.parametrize("inside", INSIDE)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    gone=st.lists(st.integers(0, 99), max_size=8),
    partition=st.sampled_from(PARTITIONS),
    share=st.sampled_from((0.2, 0.5, 1.0)),
)
def test_padding_is_never_kept(
    inside: str, seed: int, sizes: list[int], gone: list[int], partition: Any, share: float
) -> None:
    tokens, valid = video(seed, sizes, gone)
    real = valid.nonzero().flatten()
    if len(real) < 3:  # a share of these may be none
        return
    selector = {
        "name": "quota",
        "partition": partition,
        "saliency": "uniform",
        "of_piece": "sum",
        "selector": INSIDE[inside],
    }
    budget = {"name": "ratio", "keep_ratio": share, "per": "video"}
    pruner = scope.Pruner({"selector": selector, "budget": budget, "partition": "video", "at": "projected"})
    selection = pruner.prune(tokens)
    picks = selection.picks[0][selection.picks[0] >= 0]
    assert bool(valid[picks].all())
    assert len(set(picks.tolist())) == len(picks) == pruner.plan(scope.Layout.of([len(real)])).total
    # the same video without them
    alone = pruner.prune(tokens.regroup(real[None]))
    assert real[alone.picks[0]].tolist() == picks.tolist()
    if selection.assigned is not None and alone.assigned is not None:
        assert bool((selection.assigned[0][~valid] < 0).all())
        home = alone.assigned[0]
        moved = real[home.clamp(min=0)].masked_fill(home < 0, -1)
        assert selection.assigned[0][real].tolist() == moved.tolist()

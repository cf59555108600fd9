"""Methods that merge tokens from frame to frame, against oracles: kept places and every row."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_video_merging as oracle
import pytest
import torch

import scope_core as scope
from plugins.recipes.test_video_methods import VIDEOS, clip, kept, select
from scope_core import Layout

ATTENTIVE = ("flashvid", "holitom", "framefusion")


def steady(shape: tuple[int, int, int]) -> np.ndarray:
    """A clip in which half of the tokens hardly change but at the cut, so that trees of all lengths are found."""
    video = clip(*shape)
    cut = shape[0] // 2
    noise = 0.02 * np.random.default_rng(7).normal(size=video.shape)
    video[:cut, ::2] = video[:1, ::2] + noise[:cut, ::2]
    video[cut:, ::2] = video[cut : cut + 1, ::2] + noise[cut:, ::2]
    return video


@pytest.mark.parametrize("shape", VIDEOS, ids=str)
@pytest.mark.parametrize("method", [*ATTENTIVE, "prunevid"])
def test_methods_are_their_formulas(method: str, shape: tuple[int, int, int]) -> None:
    tokens = shape[1] * shape[2]
    for number, video in enumerate((steady(shape), clip(*shape))):
        attention = np.random.default_rng(number).random(video.shape[:2])
        for share in (0.05, 0.2, 0.45, 0.9):
            budget = max(1, round(share * shape[0] * tokens))
            given = (attention, budget) if method in ATTENTIVE else (budget,)
            wanted = getattr(oracle, method)(video, *given)
            spec = {"recipe": method, "budget": {"name": "tokens", "keep": budget, "per": "video"}}
            got = select(video, shape[1:], spec, saliency=torch.tensor(attention).reshape(1, -1))
            assert kept(got, tokens) == sorted(wanted)
            rows = got.merge(torch.tensor(video).reshape(1, -1, 12))[0].numpy()
            for place, row in zip(sorted(wanted), rows, strict=True):
                np.testing.assert_allclose(row, wanted[place], rtol=1e-9, atol=1e-12)


def test_frames_given_as_images_are_the_same_video_where_rows_stay_in_an_image() -> None:
    """Merging across images is not possible, so what is merged into another image is dropped; picks are the same."""
    video = steady((9, 5, 4))
    spec = {"recipe": "prunevid", "budget": {"name": "tokens", "keep": 40, "per": "video"}}
    assert kept(select(video, (5, 4), spec, images=True), 20) == kept(select(video, (5, 4), spec), 20)


def test_frames_of_unequal_sizes() -> None:
    """Tokens without a token at their place in the frame before begin a tree of their own."""
    row = torch.tensor([[0, 0, 1, 1, 0, 0, 0, 0, 1, 1]])
    col = torch.tensor([[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]])
    frame = torch.tensor([[0, 0, 0, 0, 1, 1, 2, 2, 2, 2]])
    tokens = scope.VisualTokens.of(torch.ones(1, 10, 3), row=row, col=col, tile=frame, frame=frame)
    spec: dict[str, Any] = {
        "selector": {"name": "trees", "link": "cell", "selector": {"name": "density_peaks"}},
        "merger": {"name": "average", "similarity": "cosine"},
        "budget": 6,
        "partition": "video",
        "at": "projected",
    }
    got = scope.Pruner(spec).prune(tokens, Layout.of([[4, 2, 4]], videos=[0]))
    assert got.kept[0].tolist() == [0, 1, 2, 3, 8, 9]
    assert got.assigned is not None
    assert got.assigned[0].tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 8, 9]

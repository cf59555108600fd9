"""`frame_sample`: which frames are sampled, and required tokens of others."""

from __future__ import annotations

import torch

import scope_core as scope
from scope_core import VisualTokens


def frames_of(spec: dict[str, object], required: list[int] | None = None) -> list[int]:
    must = torch.zeros(1, 54, dtype=torch.bool)
    must[0, required or []] = True
    tokens = VisualTokens.of(torch.ones(1, 54, 2), grid=(9, 2, 3), required=must)
    got = scope.Pruner({"at": "projected", **spec}).prune(tokens)
    return got.tokens.frames()[0, got.kept[0]].bincount(minlength=9).tolist()  # type: ignore[no-any-return]


def test_as_few_evenly_spaced_frames_as_hold_the_budget() -> None:
    for budget, frames in ((6, [4]), (7, [2, 6]), (12, [2, 6]), (13, [1, 4, 7]), (54, list(range(9)))):
        counts = frames_of({"recipe": "uniform_frames", "budget": budget})
        assert [frame for frame, count in enumerate(counts) if count] == frames
        assert sum(counts) == budget


def test_every_nth_frame_until_these_hold_too_few() -> None:
    # every third frame holds 18 as well, so the next is every second, with 30
    for budget, frames in ((3, [0, 4, 8]), (18, [0, 4, 8]), (19, [0, 2, 4, 6, 8]), (31, list(range(9)))):
        counts = frames_of({"recipe": "nth_frame", "budget": budget})
        assert [frame for frame, count in enumerate(counts) if count] == frames
        assert sum(counts) == budget


def test_required_tokens_of_other_frames_are_kept() -> None:
    assert frames_of({"recipe": "uniform_frames", "budget": 7}, [0, 53]) == [1, 0, 0, 0, 5, 0, 0, 0, 1]

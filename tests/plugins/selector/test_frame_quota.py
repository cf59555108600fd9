"""`frame_quota`: shares of frames by their score, exactly, within their bounds."""

from __future__ import annotations

import oracles_video as oracle
import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core import VisualTokens
from scope_plugins.selector.frame_quota import FrameQuota

FRAMES = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4), st.integers(1, 9)), min_size=1, max_size=9)


@given(
    FRAMES,
    st.floats(0, 1),
    st.sampled_from(["equal", "softmax", "raised", "linear"]),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_shares_add_up_within_their_bounds(
    frames: list[tuple[float, int, int]], how_full: float, curve: str, base: int, least: int
) -> None:
    sizes = [size for *_, size in frames]
    must = [min(low, size) for _, low, size in frames]
    total = sum(must) + round(how_full * (sum(sizes) - sum(must)))
    if curve == "linear":
        frames = [(abs(score), *rest) for score, *rest in frames]  # type: ignore[misc]
    for rounding in ("each", "one"):
        options = {"curve": curve, "base": base, "least": least, "temperature": 0.01, "rounding": rounding}
        part: FrameQuota = built(REGISTRY, "selector", {"name": "frame_quota", **options})
        counts = part.shares(total, [score for score, *_ in frames], must, sizes)
        assert sum(counts) == total
        assert all(low <= count <= high for low, count, high in zip(must, counts, sizes, strict=True))


@pytest.mark.parametrize("total", [3, 10, 17, 60])
def test_shares_follow_the_scores(total: int) -> None:
    score = [0.0, 0.02, -0.01, 0.02]
    part: FrameQuota = built(REGISTRY, "selector", {"name": "frame_quota", "curve": "raised", "temperature": 0.01})
    share = oracle.softmax([value / 0.01 for value in score])
    wanted = oracle.divided(total, [total / 4 * (1 + p - 0.25) for p in share], int(total >= 4), [20] * 4)
    assert part.shares(total, score, [0] * 4, [20] * 4) == wanted


def test_sums_make_large_pieces_keep_more() -> None:
    frame = torch.tensor([[0] * 12 + [1] * 4 + [2] * 2])
    for of_piece, wanted in (("sum", [6, 2, 1]), ("mean", [4, 3, 2])):
        spec = {"name": "frame_quota", "saliency": "uniform", "of_piece": of_piece, "curve": "linear", "least": 0}
        part: FrameQuota = built(REGISTRY, "selector", spec)
        picks = part.select(VisualTokens.of(torch.ones(1, 18, 2), frame=frame), [9]).picks[0]
        assert frame[0, picks].bincount(minlength=3).tolist() == wanted


def test_linear_weights_must_not_be_negative() -> None:
    part: FrameQuota = built(REGISTRY, "selector", {"name": "frame_quota", "saliency": "random", "curve": "linear"})
    with pytest.raises(scope.SpecError, match=r"score -0\.5; `curve: linear` needs scores of at least 0"):
        part.shares(4, [0.5, -0.5], [0, 0], [4, 4])

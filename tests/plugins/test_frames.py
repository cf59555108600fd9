"""Means of frames and cosines of pairs, against the same sums without blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import unit_rows
from scope_plugins import _frames
from scope_plugins._frames import before, cosines, frame_means, steps

NUMBERS = {
    "of one size": torch.arange(5).repeat_interleave(70),
    "of unequal sizes": torch.arange(4).repeat_interleave(torch.tensor([300, 1, 40, 7])),
    "not in order": torch.arange(7).repeat(50),
    "one": torch.zeros(9, dtype=torch.int64),
}


def drawn(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    features = torch.randn(count, 24, generator=torch.Generator().manual_seed(count)).to(dtype)
    features[0] = 0
    return features


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_means_are_sums_in_float64_token_by_token(numbers: Tensor, dtype: torch.dtype) -> None:
    features = drawn(len(numbers), dtype)
    sums = torch.zeros(int(numbers.max()) + 1, 24, dtype=torch.float64)
    for row, number in zip(features, numbers, strict=True):
        sums[number] += row.double()
    assert torch.equal(frame_means(features, numbers), sums / numbers.bincount()[:, None])


def test_equal_frames_have_equal_means() -> None:
    features = drawn(70).repeat(3, 1)
    means = frame_means(features, torch.arange(3).repeat_interleave(70))
    assert torch.equal(means, means[:1].expand(3, -1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_cosines_do_not_depend_on_the_rows_that_are_computed_together(dtype: torch.dtype) -> None:
    features = drawn(900, dtype)
    one, other = torch.arange(100, 900), torch.arange(800).flip(0)
    unit = unit_rows(features)
    found = cosines(features, one, other)
    assert torch.equal(found, (unit[one] * unit[other]).sum(1))
    assert found[-1] == 0  # the row of zeros
    assert cosines(features, one[:0], other[:0]).shape == (0,)


LAYOUTS: dict[str, Callable[[], VisualTokens]] = {
    "grid": lambda: VisualTokens.of(torch.ones(2, 24, 3), grid=(4, 2, 3)),
    "images": lambda: VisualTokens.of(torch.ones(1, 24, 3), image=torch.arange(4).repeat_interleave(6)[None]),
    "images of tiles": lambda: VisualTokens.of(
        torch.ones(1, 24, 3),
        image=torch.arange(2).repeat_interleave(12)[None],
        tile=torch.arange(4).repeat(2, 1).repeat_interleave(3, 1).view(1, 24),
        row=torch.zeros(1, 24, dtype=torch.int64),
        col=torch.arange(3).repeat(8)[None],
    ),
    "one frame": lambda: VisualTokens.of(torch.ones(1, 6, 3), grid=(2, 3)),
    "other sizes": lambda: VisualTokens.of(torch.ones(1, 9, 3), frame=torch.tensor([[0, 0, 1, 1, 1, 2, 2, 3, 3]])),
    "other places": lambda: VisualTokens.of(
        torch.ones(1, 6, 3),
        frame=torch.tensor([[0, 0, 1, 1, 2, 2]]),
        row=torch.zeros(1, 6, dtype=torch.int64),
        col=torch.tensor([[0, 1, 1, 0, 0, 1]]),
    ),
    "a place twice": lambda: VisualTokens.of(
        torch.ones(1, 6, 3),
        frame=torch.tensor([[0, 0, 0, 1, 1, 1]]),
        row=torch.zeros(1, 6, dtype=torch.int64),
        col=torch.tensor([[0, 1, 1, 0, 1, 1]]),
    ),
    "frames backwards": lambda: VisualTokens.of(torch.ones(1, 6, 3), frame=torch.tensor([[2, 2, 1, 1, 0, 0]])),
    "a frame that comes back": lambda: VisualTokens.of(torch.ones(1, 6, 3), frame=torch.tensor([[0, 0, 1, 1, 0, 0]])),
    "padding": lambda: VisualTokens.of(
        torch.ones(1, 8, 3), grid=(4, 1, 2), valid=torch.tensor([[True] * 6 + [False] * 2])
    ),
    "holes": lambda: VisualTokens.of(
        torch.ones(1, 8, 3), grid=(4, 1, 2), valid=torch.tensor([[True] * 3 + [False] + [True] * 4])
    ),
    "none": lambda: VisualTokens.of(torch.ones(1, 2, 3), valid=torch.zeros(1, 2, dtype=torch.bool)),
}
ALIKE = {"grid", "images", "images of tiles", "one frame", "padding"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_frames_of_the_same_places_need_no_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = LAYOUTS[name]()
    for group in range(tokens.shape[0]):
        found = before(tokens, group)
        assert (_frames._frame_size(tokens, group, tokens.valid[group].nonzero().flatten()) > 0) == (name in ALIKE)
        now, earlier = steps(tokens, group)
        assert torch.equal(found[now], earlier)
        assert len(now) == int((found >= 0).sum())
        with monkeypatch.context() as patch:
            patch.setattr(_frames, "_frame_size", lambda *_: 0)
            assert torch.equal(before(tokens, group), found)


def test_cosines_of_runs_are_those_of_any_places() -> None:
    features = torch.randn(600, 7, generator=torch.Generator().manual_seed(0))
    for scaled in (features, torch.cat([features[:300] * 1e-25, features[300:] * 1e25])):  # squares leave the range
        one, other = torch.arange(40, 600), torch.arange(560)
        mixed = torch.randperm(560, generator=torch.Generator().manual_seed(1))
        assert torch.equal(cosines(scaled, one, other)[mixed], cosines(scaled, one[mixed], other[mixed]))
        wanted = torch.cosine_similarity(scaled[one].double(), scaled[other].double(), dim=1, eps=0)
        assert (cosines(scaled, one, other) - wanted).abs().max() < 1e-6

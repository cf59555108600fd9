"""Means of frames and cosines of pairs, against the same sums without blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scope_core.parts import unit_rows
from scope_plugins._frames import cosines, frame_means

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

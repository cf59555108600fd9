"""`stride`: every so many tokens, the step rounded down."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope


@pytest.mark.parametrize(
    ("valid", "keep", "wanted"), [(10, 3, [0, 3, 6]), (10, 4, [0, 2, 4, 6]), (7, 7, list(range(7)))]
)
def test_stride_rounds_its_step_down(valid: int, keep: int, wanted: list[int]) -> None:
    spec = {"optimizer": "stride", "coverage": "modular", "combiner": "coverage_only", "budget": keep}
    mask = (torch.arange(12) < valid)[None]
    assert scope.select(torch.ones(1, 12, 2), spec=spec, valid=mask).picks[0].tolist() == wanted

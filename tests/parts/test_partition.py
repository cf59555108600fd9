"""`Partition.label`: a partition by layout also divides tokens that are already grouped."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from scope_core import VisualTokens

SECOND_NOT_VALID = torch.tensor([[True, False, *[True] * 7]])


def tokens(**planes: list[int]) -> VisualTokens:
    return VisualTokens.of(
        torch.ones(1, 9, 2), valid=SECOND_NOT_VALID, **{name: torch.tensor([plane]) for name, plane in planes.items()}
    )


MIXED = tokens(image=[0, 0, 0, 1, 1, 1, 1, 2, 2], tile=[0, 0, 1, 0, 1, 1, 2, 0, 0], frame=[0, 0, 0, 0, 1, 1, 1, 0, 0])
"""An image of two tiles, a video of two frames, the second of two tiles, and a plain image."""


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("image", [0, -1, 0, 1, 1, 1, 1, 2, 2]),
        ("tile", [0, -1, 1, 2, 3, 3, 4, 5, 5]),
        ("frame", [0, -1, 0, 1, 2, 2, 2, 3, 3]),
    ],
)
def test_pieces_are_those_of_the_layout(name: str, labels: list[int]) -> None:
    partition = scope.default_registry().build_named("partition", name)
    assert partition.label(MIXED, [3]).tolist() == [labels]


def test_groups_without_valid_tokens_have_no_pieces() -> None:
    none = VisualTokens.of(torch.ones(1, 3, 2), valid=torch.zeros(1, 3, dtype=torch.bool))
    assert scope.default_registry().build_named("partition", "image").label(none, [0]).tolist() == [[-1, -1, -1]]

"""`principal`: tokens that vary together."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def labels(features: torch.Tensor, keep: int, **options: object) -> list[int]:
    part = built(REGISTRY, "partition", {"name": "principal", **options})
    found: list[int] = part.label(VisualTokens.of(features), [keep])[0].tolist()
    return found


def test_tokens_of_one_direction_are_one_piece() -> None:
    """Three groups of tokens, each along its own channels, of different strength."""
    x = torch.zeros(30, 12)
    for group in range(3):
        x[group::3, group * 4 : group * 4 + 2] = 4.0 / (group + 1)
        x[group::3, group * 4 + 2 : group * 4 + 4] = -4.0 / (group + 1)
    found = labels(x, 12)
    assert len(set(found)) == 3
    assert all(len(set(found[group::3])) == 1 for group in range(3))


def test_the_number_of_pieces_follows_from_the_tokens_to_keep() -> None:
    x = torch.randn(100, 40, generator=torch.Generator().manual_seed(0))
    assert [len(set(labels(x, keep))) for keep in (1, 8, 63)] == [1, 2, 16]
    assert len(set(labels(x, 63, plus=1))) == len(set(labels(x, 64))) == 16


def test_equal_tokens_are_one_piece() -> None:
    assert set(labels(torch.randn(1, 9).expand(20, 9), 16)) == {0}
    assert set(labels(torch.full((20, 9), 0.3), 16)) == {0}

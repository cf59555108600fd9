"""`anchors`: how many salient tokens belong together."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope

ONE, TWO, THREE = torch.eye(3)


def kept(rows: list[torch.Tensor], budget: int, **options: object) -> list[int]:
    """The picks of tokens whose saliency falls with their number."""
    features = torch.stack(rows)[None]
    saliency = torch.linspace(1, 0.1, len(rows))[None]
    spec = {"selector": {"name": "anchors", **options}, "budget": budget}
    found: list[int] = scope.select(features, saliency=saliency, spec=spec).picks[0].tolist()
    return found


def test_stops_at_the_third_token_that_differs() -> None:
    rows = [ONE] * 4 + [TWO] * 2 + [ONE] + [THREE] * 3 + [ONE] * 6  # the first 5 are kept in any case
    assert kept(rows, 16) == list(range(10))
    assert kept(rows, 16, patience=1) == list(range(8))
    assert kept(rows, 8) == list(range(8))  # at most the budget
    assert kept(rows, 16, novelty=2.0) == list(range(16))


@pytest.mark.parametrize(("count", "least"), [(16, 5), (32, 10), (64, 20), (3, 1), (1, 1)])
def test_the_least_count(count: int, least: int) -> None:
    """5 of 32 tokens of a budget, half of which is asked for here."""
    rows = [ONE] * least + [TWO] * (65 - least)
    assert kept(rows, count) == list(range(min(least + 3, count)))


def test_required_tokens_come_first_and_equal_tokens_are_all_kept() -> None:
    cells = [{"name": "cells", "keep": [[0, 9]]}]
    features, saliency = torch.stack([ONE] * 10)[None], torch.linspace(1, 0.1, 10)[None]
    spec = {"selector": "anchors", "budget": 4, "constraints": cells}
    assert scope.select(features, saliency=saliency, spec=spec, grid=(1, 10)).picks[0].tolist() == [9, 0, 1, 2]

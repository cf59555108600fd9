"""`ungroup`: what was selected in other groups goes back to the original ones."""

from __future__ import annotations

import torch

from scope_core import Selection, VisualTokens, ungroup

TOKENS = VisualTokens.of(torch.arange(2.0 * 4 * 3).view(2, 4, 3))
INDEX = torch.tensor([[6, 1, 4], [0, 7, -1], [5, 3, 2]])
"""Three groups of the eight tokens: the first four are of the first original group."""


def back(**more: torch.Tensor) -> Selection:
    picks = torch.tensor([[2, 0, 1], [1, 0, -1], [2, -1, -1]])
    gains = torch.where(picks >= 0, picks.float() + 10 * torch.arange(3.0)[:, None], torch.nan)
    return ungroup(Selection(picks, gains, -gains, TOKENS.regroup(INDEX), **more), INDEX, TOKENS)


def test_picks_follow_the_order_of_the_new_groups() -> None:
    selection = back()
    assert selection.picks.tolist() == [[1, 0, 2], [0, 2, 3]]
    assert selection.gains.tolist() == [[1, 10, 22], [2, 0, 11]]
    assert selection.tokens is TOKENS
    assert selection.stage is None


def test_rows_of_unequal_length_are_padded() -> None:
    picks = torch.tensor([[0], [0], [0]])
    score = torch.ones(3, 1)
    selection = ungroup(Selection(picks, score, score, TOKENS.regroup(INDEX)), INDEX, TOKENS)
    assert selection.picks.tolist() == [[0, -1], [2, 1]]
    assert selection.scores.isnan().tolist() == [[False, True], [False, False]]


def test_tokens_merged_across_original_groups_are_merged_into_none() -> None:
    homes = torch.tensor([[2, 1, 2], [0, 1, -1], [0, 2, 2]])  # 6 into 4, 3 into 2; 1, 0, 7, 2 and 5 into themselves
    shares = torch.tensor([[0.5, 1, 1], [1, 1, 1], [1, 0.25, 1]])
    selection = back(assigned=homes, shares=shares)
    assert selection.assigned.tolist() == [[0, 1, 2, 2], [0, 1, 0, 3]]
    assert selection.shares.tolist() == [[1, 1, 1, 0.25], [1, 1, 0.5, 1]]
    across = back(assigned=torch.tensor([[1, 1, 2], [0, 1, -1], [0, 1, 2]]))  # 6 into 1
    assert across.assigned.tolist() == [[0, 1, 2, 3], [0, 1, -1, 3]]

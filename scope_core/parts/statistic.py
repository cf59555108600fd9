"""`Statistic`: one number that describes a group of tokens."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.parts.base import Part, S
from scope_core.parts.calls import attribute_errors, expect
from scope_core.structures.tokens import VisualTokens


class Statistic(Part[S]):
    """One number that describes a group of tokens, e.g. how many directions its features spread over.

    Budgets and selectors make counts, shares and thresholds from it. State what it is for tokens that are all equal.
    """

    @abstractmethod
    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,) finite floating-point numbers, from the valid tokens of each group alone; 0 for a group without any."""


def measured(statistic: Statistic[Any], tokens: VisualTokens) -> list[float]:
    """The number of each group from ``statistic``, checked. Always use this function to call a statistic.

    Raises:
        PluginOutputError: the statistic did not return a floating-point tensor of shape (B,).
        TokensError: a number is not finite.
    """
    with attribute_errors(statistic, "measure", tokens):
        values = statistic.measure(tokens)
    expect(values, tokens.shape[:1], f"statistic {statistic}: measure()", tokens)
    wrong = ~torch.isfinite(values)
    if bool(wrong.any()):
        group = int(wrong.nonzero()[0])
        raise TokensError(
            f"statistic {statistic} of {tokens.name_of(group)} is {float(values[group])}; counts and thresholds need "
            f"finite numbers: look for overflow in half precision"
        )
    return [float(value) for value in values.tolist()]

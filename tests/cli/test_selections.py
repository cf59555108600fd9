"""Timing a selection: the first one warms up and does not count."""

from __future__ import annotations

import time

import torch

import scope_core as scope
from scope_core.cli.selections import timed


class SlowAtFirst(scope.Pruner):
    """Half a second for the first selection."""

    calls = 0

    def prune(self, tokens: scope.VisualTokens, *args: object) -> scope.Selection:
        self.calls += 1
        if self.calls == 1:
            time.sleep(0.5)
        return super().prune(tokens)


def test_the_first_selection_is_not_timed() -> None:
    pruner = SlowAtFirst("random@3")
    _, ms = timed(pruner, scope.VisualTokens.of(torch.randn(1, 9, 4)), repeats=1)
    assert pruner.calls == 2
    assert ms < 500

"""`Kernel`: all picks of exact greedy at once, for one coverage function. Optional: it saves time or memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scope_core.structures.picks import Picks
from scope_core.structures.tokens import VisualTokens


class Kernel(ABC):
    """The same picks that greedy makes with ``start``, ``gain`` and ``add`` of a coverage function, ties included.

    A coverage function names it in its attribute ``kernel``. A subclass that overrides one of the three methods has no
    kernel, unless it names its own. A kernel stores nothing about a call; each method gets the coverage function first.

    Attributes:
        picks_in_blocks: Optional method ``(coverage, blocks, tokens, scale, offset, keep) -> Picks``: greedy selection
            for one group without its N x N matrix. ``blocks`` are its similarities, computed when they are read
            (`scope_core.parts.Blocks`); ``keep`` is one number; the rest is as for `picks`, with (1, N) tensors.
        mirrored: Optional kernel for `picks` where row i of the similarities is column i, to the last bit.
        instead: Optional kernel for `picks` where this one cannot run or returns None, if picks may be made by the loop
            as well: the same picks in fewer steps than the loop takes, without a compiler.
    """

    picks_in_blocks: Callable[..., Picks] | None = None
    mirrored: Kernel | None = None
    instead: Kernel | None = None

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """The reason why `picks` cannot run on ``device``, for messages; empty if it can."""
        return ""

    @abstractmethod
    def picks(
        self,
        coverage: Any,
        similarity: Tensor,
        tokens: VisualTokens,
        scale: Tensor,
        offset: Tensor,
        keep: Sequence[int],
    ) -> Picks | None:
        """All picks of exact greedy; None if the kernel cannot handle these numbers: the loop then makes the picks.

        Args:
            coverage: The coverage function.
            similarity: (B, N, N) float32 or float64, as for ``start``; None if the function reads none.
            tokens: The candidates; required ones are picked first.
            scale: (B, N) finite float64; the score is ``gain * scale + offset``.
            offset: (B, N) finite float64.
            keep: How many to pick of each group.
        """

"""`Kernel`: all picks of exact greedy for one coverage function at once. Optional, and only about time and memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from scope_core.structures.picks import Picks
    from scope_core.structures.tokens import VisualTokens


class Kernel(ABC):
    """A faster way to what greedy picks by ``start``, ``gain`` and ``add`` of a coverage function, ties included.

    It is the attribute ``kernel`` of the class that has those three methods, and stands for them alone: a subclass
    that changes one of them has no kernel, unless it names one of its own. A kernel holds nothing about a call; each
    method gets the live coverage function first.

    Attributes:
        picks_in_blocks: Optional method ``(coverage, blocks, tokens, scale, offset, keep) -> Picks``: the picks of one
            group whose matrix is never made. ``blocks`` are its similarities, computed when they are read
            (`scope_core.parts.Blocks`); ``keep`` is one number; the rest is as for `picks`, with (1, N) tensors.
    """

    picks_in_blocks: Callable[..., Picks] | None = None

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """Why `picks` cannot serve on ``device``, in words for messages; empty where it can."""
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
        """All picks of exact greedy; None for numbers that it does not take, which leaves them to the loop.

        Args:
            coverage: The coverage function.
            similarity: (B, N, N) as for ``start``: float32 or float64; None where the function reads none.
            tokens: The candidates; those required are picked first.
            scale: (B, N) float64 of the score ``gain * scale + offset``, finite.
            offset: (B, N) float64, finite.
            keep: How many to pick of each group.
        """

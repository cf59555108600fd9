"""Kernel of a sum of coverage functions, from their kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_plugins.coverage._fast.incremental import Incremental

if TYPE_CHECKING:
    from scope_plugins.coverage._fast.incremental import Group


class StackedKernel(Incremental):
    """Compiled updates of all functions; gains are added up as `Stacked.gain` does."""

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """The reason: another device, no compiler, or a function without a compiled update; empty if it can run."""
        if reason := super().why_not(coverage, device):
            return reason
        for part in coverage.parts["of"]:
            if not isinstance(part.kernel, Incremental):
                return f"its function {part} has no compiled update of gains"
            if reason := part.kernel.why_not(part, device):
                return reason
        return ""

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Compiled updates of all functions; None if one of them has none for these numbers."""
        import numpy as np

        parts: list[Callable[[int, int], Group]] = []
        for part in coverage.parts["of"]:
            groups = part.kernel.groups(part, similarity, tokens)
            if groups is None:
                return None
            parts.append(groups)
        weights = coverage.spec.weights or (1.0,) * len(parts)

        def group(index: int, count: int) -> Group:
            gains, adds = zip(*(part(index, count) for part in parts), strict=True)
            total, scratch = np.empty_like(gains[0]), np.empty_like(gains[0])

            def add_up() -> None:
                np.multiply(gains[0], weights[0], out=total)
                for weight, gain in zip(weights[1:], gains[1:], strict=True):
                    np.add(total, np.multiply(gain, weight, out=scratch), out=total)

            def add(pick: int) -> None:
                for add_one in adds:
                    add_one(pick)
                add_up()

            add_up()
            return total, add

        return group

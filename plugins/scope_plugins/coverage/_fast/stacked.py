"""Kernel of a sum of coverage functions, of kernels that keep gains up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast.incremental import Incremental

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from scope_core import VisualTokens
    from scope_plugins.coverage._fast.incremental import Group


class StackedKernel(Incremental):
    """Compiled updates of all functions; gains are added up as `Stacked.gain` does."""

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """As ever; or one of the functions has no compiled update."""
        if reason := super().why_not(coverage, device):
            return reason
        for part in coverage.parts["of"]:
            if not isinstance(part.kernel, Incremental):
                return f"of its functions, {part} has no compiled update of its gains"
            if reason := part.kernel.why_not(part, device):
                return reason
        return ""

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """None where one of the functions has none."""
        import numpy as np

        parts: list[Callable[[int, int], Group]] = []
        for part in coverage.parts["of"]:
            made = part.kernel.groups(part, similarity, tokens)
            if made is None:
                return None
            parts.append(made)
        weights = coverage.spec.weights or (1.0,) * len(parts)

        def group(index: int, count: int) -> Group:
            gains, adds = zip(*(part(index, count) for part in parts), strict=True)
            total, scratch = np.empty_like(gains[0]), np.empty_like(gains[0])

            def add_up() -> None:
                np.multiply(gains[0], weights[0], out=total)
                for weight, gain in zip(weights[1:], gains[1:], strict=True):
                    np.add(total, np.multiply(gain, weight, out=scratch), out=total)

            def add(pick: int) -> None:
                for one in adds:
                    one(pick)
                add_up()

            add_up()
            return total, add

        return group

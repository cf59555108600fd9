"""Kernel of the graph cut."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Blocks
from scope_plugins.coverage._fast.ranked import Ranked


class GraphCutKernel(Ranked):
    """Gains fall by the row and the column of each pick."""

    def first_in_blocks(self, coverage: Any, blocks: Blocks, tokens: VisualTokens) -> Tensor:
        """``g_j = b sum_i S_ij - S_jj``."""
        total = blocks.own.new_zeros(blocks.own.shape)
        for rows, columns, block in blocks.triangle():
            total[columns] += block.sum(0)
            if rows != columns:
                total[rows] += block.sum(1)
        gains: Tensor = total * coverage.spec.balance - blocks.own
        return gains

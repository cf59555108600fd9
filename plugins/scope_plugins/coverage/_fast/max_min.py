"""Kernel of max-min diversity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Blocks
from scope_plugins.coverage._fast.ranked import Ranked


class MaxMinKernel(Ranked):
    """Distances to the nearest kept token, by the row of each pick."""

    def first_in_blocks(self, coverage: Any, blocks: Blocks, tokens: VisualTokens) -> Tensor:
        """Distance to the nearest other token."""
        padding = ~tokens.valid[0]
        highest = torch.full_like(blocks.own, -torch.inf)
        for rows, columns, block in blocks.triangle():
            if rows == columns:
                block.diagonal().fill_(-torch.inf)
            else:
                others = block.masked_fill(padding[columns], -torch.inf).amax(1)
                highest[rows] = highest[rows].maximum(others)
            others = block.masked_fill_(padding[rows, None], -torch.inf).amax(0)
            highest[columns] = highest[columns].maximum(others)
        return (1 - highest).masked_fill(torch.isinf(highest), 0)

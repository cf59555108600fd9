"""Max-min diversity: the next token is the one farthest from those kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.max_min import MaxMinKernel


class MaxMinSpec(ComponentSpec):
    """Distance (1 - similarity) to the nearest kept token."""

    name: Literal["max_min"] = "max_min"


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    nearest: Tensor  # (B, N): distance to the nearest kept token
    empty: bool


class MaxMin(CoverageFunction[MaxMinSpec]):
    """No two kept tokens should be alike: the next one is always the farthest from those kept.

    Use it for diversity without any saliency. It favours outliers, so noisy tokens may be kept.

    ``g_j = min_{i in A} (1 - S_ij)``; for the first pick, the distance to the nearest other token. Not submodular;
    the smallest distance between kept tokens is at least 1/2 of the best possible one for metrics (Ravi et al. 1994),
    and at least 1/4 for 1 - cosine, which is half a squared metric.
    Source: DivPrune, arXiv 2503.02175, whose similarity is the cosine.
    """

    matrices = 0
    kernel = MaxMinKernel(minimum=True, constant=1, row=-1)

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Distance to the nearest other token: the first pick is the most isolated one."""
        nearest, start = similarity.new_full(tokens.shape[:2], torch.inf), 0
        for rows in arithmetic.blocks(similarity):
            distance, stop = 1 - rows, start + rows.shape[1]
            distance.masked_fill_(~tokens.valid[:, start:stop, None], torch.inf)
            distance[:, :, start:stop].diagonal(dim1=1, dim2=2).fill_(torch.inf)
            nearest, start = nearest.minimum(distance.amin(1)), stop
        # a single valid token has no neighbour; any finite gain picks it
        return _State(similarity, nearest.masked_fill(torch.isinf(nearest), 0), empty=True)

    def gain(self, state: _State) -> Tensor:
        """(B, N), in [0, 2] for the cosine."""
        return state.nearest

    def add(self, state: _State, pick: Tensor) -> _State:
        """Distances to the picked token replace (first pick) or lower the nearest distances."""
        index = pick[:, None, None].expand(-1, 1, state.similarity.shape[2])
        distance = 1 - state.similarity.gather(1, index)[:, 0]
        return _State(state.similarity, distance if state.empty else state.nearest.minimum(distance), empty=False)

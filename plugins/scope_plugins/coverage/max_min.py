"""Max-min diversity: the next token is the one farthest from those kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec
from scope_plugins.coverage._ranked import Ranked

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class MaxMinSpec(ComponentSpec):
    """Distance (1 - similarity) to the nearest kept token."""

    name: Literal["max_min"] = "max_min"


@dataclass
class _State:
    distance: Tensor  # (B, N, N)
    nearest: Tensor  # (B, N): distance to the nearest kept token
    empty: bool


class MaxMin(Ranked[MaxMinSpec]):
    """``g_j = min_{i in A} (1 - S_ij)``; for the first pick, the distance to the nearest other token.

    Farthest-point greedy is within 1/2 of the best max-min dispersion for metrics (Ravi et al. 1994); 1 - cosine
    is half a squared metric, so within 1/4 here. It is no submodular function.
    Source: DivPrune, arXiv 2503.02175, whose similarity is the cosine.
    """

    matrices = 2.5

    def rows(self, similarity: Tensor, tokens: VisualTokens) -> tuple[Tensor, Tensor]:
        """What `start` has."""
        state = self.start(similarity, tokens)
        return state.distance, state.nearest

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """The first pick is the most isolated token."""
        import torch

        distance = 1 - similarity
        count = tokens.shape[1]
        others = tokens.valid[:, :, None] & ~torch.eye(count, dtype=torch.bool, device=tokens.device)
        nearest = distance.masked_fill(~others, torch.inf).amin(1)
        alone = torch.isinf(nearest)  # the only valid token has no neighbour; any finite gain picks it
        return _State(distance, nearest.masked_fill(alone, 0), empty=True)

    def gain(self, state: _State) -> Tensor:
        """(B, N), in [0, 2] for the cosine."""
        return state.nearest

    def add(self, state: _State, pick: Tensor) -> _State:
        """Distances to the picked token replace (first pick) or lower the nearest distances."""
        index = pick[:, None, None].expand(-1, 1, state.distance.shape[2])
        here = state.distance.gather(1, index)[:, 0]
        return _State(state.distance, here if state.empty else state.nearest.minimum(here), empty=False)

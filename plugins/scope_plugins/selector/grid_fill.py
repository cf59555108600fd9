"""Saliency outliers, then a grid whose density follows from their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot, scores
from scope_plugins._outliers import grid_points, outliers


class GridFillSpec(ComponentSpec):
    """Outliers of a saliency, then tokens at an even stride."""

    name: Literal["grid_fill"] = "grid_fill"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency whose outliers are picked first."""
    fence: Annotated[float, Field(ge=0)] = 1.5
    """Outliers lie above ``Q3 + fence (Q3 - Q1)``."""
    density: Annotated[int, Field(ge=1)] = 3
    """Approximate number of grid points for each outlier."""
    floored: bool = False
    """Count outliers as the budget `iqr` does with this option."""


class GridFill(Selector[GridFillSpec]):
    """Tokens that stand out, and evenly spaced ones for the rest of the image.

    Use it with the budget `iqr` of the same ``grid``, which gives exactly these counts, to repeat PruMerge+.

    m outliers, highest first; then tokens 0, s, 2s, ... of the n candidates, ``s = floor(floor(n / m) / density)``.
    Grid points that are outliers are not picked twice, and the last candidate is not a grid point. A smaller budget
    cuts off the end, a larger one is filled by saliency. Required tokens come first.
    Source: PruMerge+, arXiv 2403.15388.
    """

    equivariant = False

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Outliers, grid points, others."""
        score = scores(self.parts["saliency"], tokens)
        picks = torch.full((len(keep), max(keep, default=0)), -1, dtype=torch.int64, device=tokens.device)
        for group, count in enumerate(keep):
            index = tokens.valid[group].nonzero().flatten()
            ranked = index[score[group, index].sort(descending=True, stable=True).indices].tolist()
            values, fence, floored = score[group, index], self.spec.fence, self.spec.floored
            seeds = outliers(values, fence, floored)
            grid = index[list(grid_points(values, fence, self.spec.density, floored))].tolist()
            required = [token for token in ranked if bool(tokens.required[group, token])]
            order = list(dict.fromkeys([*required, *ranked[:seeds], *grid, *ranked]))[:count]
            picks[group, :count] = torch.tensor(order, dtype=torch.int64, device=tokens.device)
        picked = score.gather(1, picks.clamp(min=0)).masked_fill(picks < 0, torch.nan)
        return Selection(picks, torch.ones_like(picked).masked_fill(picks < 0, torch.nan), picked, tokens)

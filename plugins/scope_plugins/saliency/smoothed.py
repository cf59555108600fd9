"""Another saliency source, blurred over the token grid."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores


class SmoothedSpec(ComponentSpec):
    """A weighted mean of each token's score and those around it in the tile's grid."""

    name: Literal["smoothed"] = "smoothed"
    of: Annotated[ComponentSpec, Slot("saliency")]
    """The source."""
    reach: Annotated[int, Field(ge=0, le=50)] = 1
    """Rows above and below, and columns on either side, that the window takes in: 1 is a window of 3 x 3."""
    sigma: Annotated[float, Field(gt=0)] = 1.0
    """Standard deviation of the Gaussian weights, in tokens."""


class Smoothed(SaliencySource[SmoothedSpec]):
    """Regions that are salient, instead of single tokens.

    Use it for a source whose scores vary from one token to the next, such as relevance to the text: one token of an
    object that was scored low keeps the company of its neighbours.

    ``b_i = sum_j k_ij a_j / sum_j k_ij`` over the window in the same tile, ``k_ij`` Gaussian in the distance. Outside
    the grid, its rows and columns are mirrored; cells without a valid token count for nothing. Tokens without a place
    in a grid stay as they are. Source: EADP, ECCV 2026, arXiv 2607.02484.
    """

    reads_places = True

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # follows from the source
        """True if the source's scores are."""
        return bool(self.parts["of"].nonnegative)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in the range of the source."""
        given = scores(self.parts["of"], tokens)
        smooth = given.clone()
        placed = tokens.valid & (tokens.row >= 0) & (tokens.col >= 0)
        for group, mine in enumerate(placed):
            index = mine.nonzero().flatten()
            keys = torch.stack([tokens.image[group, index], tokens.tile[group, index]], 1)
            for key in torch.unique(keys, dim=0):
                cells = index[(keys == key).all(1)]
                place = tokens.row[group, cells], tokens.col[group, cells]
                shape = tuple(int(axis.max()) + 1 for axis in place)
                planes = torch.zeros(2, *shape, dtype=torch.float64, device=given.device)
                planes[0, place[0], place[1]] = given[group, cells].double()
                planes[1, place[0], place[1]] = 1
                total, weight = self._blurred(planes)
                smooth[group, cells] = (total / weight)[place].to(given.dtype)
        return smooth

    def _blurred(self, planes: Tensor) -> Tensor:
        """(2, H, W) sums over each window, rows and columns mirrored at the border."""
        for axis in (1, 2):
            count, total = planes.shape[axis], torch.zeros_like(planes)
            at = torch.arange(count, device=planes.device)
            for step in range(-self.spec.reach, self.spec.reach + 1):
                period = max(2 * (count - 1), 1)
                mirrored = (at + step) % period
                mirrored = torch.where(mirrored < count, mirrored, period - mirrored)
                kernel = torch.exp(torch.tensor(-(step**2) / (2 * self.spec.sigma**2), dtype=planes.dtype))
                total += float(kernel) * planes.index_select(axis, mirrored)
            planes = total
        return planes

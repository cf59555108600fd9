"""A regular grid of tokens: the control that looks at nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec, Optimizer, apportion

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Picks, Problem


class GridSpec(ComponentSpec):
    """Evenly spaced tokens."""

    name: Literal["grid"] = "grid"


class Grid(Optimizer[GridSpec]):
    """K cells of a grid with the tile's proportions, each represented by its centre; scores are ignored.

    K that is no product of rows and columns gives some rows one token more. Tokens that do not fill a
    rectangle (or carry no position) are taken at an even stride in raster order instead.
    """

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in raster order, required tokens first."""
        import torch

        from scope_core import rank

        tokens = problem.tokens
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, count in enumerate(keep):
            must = tokens.required[group] & tokens.valid[group]
            free = tokens.valid[group] & ~must
            tiles = sorted(set(tokens.tile[group][free].tolist()))
            members = [(free & (tokens.tile[group] == tile)).nonzero().flatten() for tile in tiles]
            shares = apportion(max(count - int(must.sum()), 0), [len(m) for m in members])
            for index, share in zip(members, shares, strict=True):
                places = _places(tokens.row[group][index], tokens.col[group][index], share)
                score[group, index[torch.tensor(places, dtype=torch.int64, device=index.device)]] = 1
        return rank(score, torch.ones_like(score), problem, keep)


def _places(row: Tensor, col: Tensor, count: int) -> list[int]:
    """Positions, among the given tokens in raster order, of ``count`` evenly spaced ones."""
    total = len(row)
    if count == 0 or total == 0:
        return []
    rows, cols = int(row.max() - row.min()) + 1, int(col.max() - col.min()) + 1
    if rows * cols != total or int(row.min()) < 0:
        return [(2 * i + 1) * total // (2 * count) for i in range(count)]
    bands = min(max(round((count * rows / cols) ** 0.5), -(-count // cols), 1), rows, count)
    per_band = apportion(count, [cols] * bands)
    return [
        ((2 * band + 1) * rows // (2 * bands)) * cols + (2 * i + 1) * cols // (2 * here)
        for band, here in enumerate(per_band)
        for i in range(here)
    ]

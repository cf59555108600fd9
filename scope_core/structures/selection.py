"""`Selection`: the kept tokens, their order, and the gain and score of each pick."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from scope_core.errors import TokensError, quoted
from scope_core.structures.copies import changed
from scope_core.structures.marks import Marks, selection_html
from scope_core.structures.mixed import Mixed
from scope_core.structures.nearest import nearest_kept, share_within
from scope_core.structures.overlay import Grid, View, coverage_panels, page_of
from scope_core.structures.tokens import VisualTokens

if TYPE_CHECKING:
    from PIL.Image import Image

Order = Literal["raster", "stages", "picks"]

_FOLLOWS = {
    "counts": {"picks"},
    "kept": {"picks", "tokens"},
    "mask": {"picks", "tokens"},
    "arranged": {"picks", "tokens", "stage", "order"},
}
"""The fields that each computed property follows from."""


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The result of a selection: one row per image for callers, one row per group for parts.

    Attributes:
        picks: (B, K) int64 token indices in the order they were picked, -1 where a row is shorter.
        gains: (B, K) coverage gain of each pick at the time it was picked, NaN where a row is shorter.
        scores: (B, K) score of each pick, NaN where a row is shorter.
        tokens: The tokens that were selected from.
        stage: (B, K) int64 number of the chain's step that made each pick; None if there was one step.
        assigned: (B, N) int64 kept token that the selector merged each token into: kept tokens have their own index,
            tokens that were not merged have -1. None if the selector merges nothing.
        shares: (B, N) floating point weight of each token among those that ``assigned`` puts into one row, at least 0;
            None if all weigh the same.
        order: The order in which kept tokens reach the language model: ``"raster"``, ``"stages"`` (step by step of a
            chain, in raster order within each) or ``"picks"``.
        mixed: The rows of the merger; None if nothing is merged.
        allotted: Each group's budget in rows, with those that a merger adds; None if unknown.
    """

    picks: Tensor
    gains: Tensor
    scores: Tensor
    tokens: VisualTokens
    stage: Tensor | None = None
    assigned: Tensor | None = None
    shares: Tensor | None = None
    order: Order = "raster"
    mixed: Mixed | None = None
    allotted: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"Selection(counts={quoted(self.counts)}, tokens={self.tokens.shape[1]})"

    def _repr_html_(self) -> str:
        """What a notebook shows: counts, coverage, and a small map of each image."""
        return selection_html(self.marks, self.coverage(0.8).tolist())

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of kept tokens in each row."""
        return tuple((self.picks >= 0).sum(1).tolist())

    def changed(self, **fields: Any) -> Selection:
        """This selection with other fields, as by `dataclasses.replace`; what is known of the rest stays known."""
        return changed(self, _FOLLOWS, fields)

    @property
    def _full(self) -> bool:
        """True if all rows are known to keep as many tokens; False where asking waits for a device."""
        if self.picks.device.type != "cpu" and "counts" not in self.__dict__:
            return False
        return all(count == self.picks.shape[1] for count in self.counts)

    @cached_property
    def kept(self) -> Tensor:
        """(B, K) int64 indices of kept tokens in raster order, -1 at the end of shorter rows."""
        if self._full:
            return self.picks.sort(dim=1).values
        count = self.tokens.shape[1]
        ordered = self.picks.masked_fill(self.picks < 0, count).sort(dim=1).values
        return ordered.masked_fill(ordered == count, -1)

    @cached_property
    def mask(self) -> Tensor:
        """(B, N) bool: True for kept tokens."""
        batch, count, _ = self.tokens.shape
        if self._full:
            mask = torch.zeros((batch, count), dtype=torch.bool, device=self.picks.device)
            return mask.scatter_(1, self.picks, True)
        mask = torch.zeros((batch, count + 1), dtype=torch.bool, device=self.picks.device)
        return mask.scatter_(1, torch.where(self.picks < 0, count, self.picks), True)[:, :count]

    @cached_property
    def arranged(self) -> Tensor:
        """(B, K) int64 kept tokens in the order they reach the language model, -1 at the end of shorter rows."""
        if self.order == "picks":
            return self.picks
        if self.order == "raster" or self.stage is None:
            return self.kept
        count = self.tokens.shape[1]
        key = self.stage * count + self.picks
        if not self._full:
            key = key.masked_fill(self.picks < 0, torch.iinfo(torch.int64).max)
        return self.picks.gather(1, key.sort(dim=1).indices)

    @property
    def rows(self) -> Tensor:
        """(B, R) int64 kept token that each row for the language model stands for, -1 for rows that a merger added.

        Rows of shorter groups end in -1 as well, from their `row_counts` on.
        """
        return self.arranged if self.mixed is None else self.mixed.sources

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Number of rows that the language model gets of each group: kept tokens and rows that a merger added."""
        return self.counts if self.mixed is None else self.mixed.counts

    @property
    def weights(self) -> Tensor | None:
        """(B, R, N) weight of each token in each row; None if nothing is merged."""
        return None if self.mixed is None else self.mixed.weights

    def merge(self, tensor: Tensor, cls: Tensor | None = None) -> Tensor:
        """The rows that the language model gets, from any tensor with the same token axis: merged by the merger.

        Args:
            tensor: (B, N, D) floating point.
            cls: (B, N, D) the CLS token of each token's tile; read only if the merger uses it.

        Returns:
            (B, R, D) in the order of `rows`, in the dtype of ``tensor``; rows beyond `row_counts` are zero.

        Raises:
            TokensError: the first two axes are not (B, N), or ``cls`` is missing or of another shape; or sums are too
                large for the dtype of ``tensor``.
        """
        if self.mixed is None:
            return self._rows_of(tensor, self.arranged)
        self._check(tensor)
        whole = tensor.device.type == "cpu" and not self.tokens.padded
        return self.mixed.rows_of(tensor, None if whole else self.tokens.valid, cls)

    def gather(self, tensor: Tensor) -> Tensor:
        """The kept rows of any tensor with the same token axis.

        Args:
            tensor: (B, N, ...).

        Returns:
            (B, K, ...) in raster order; rows beyond a group's count are zero.

        Raises:
            TokensError: the first two axes are not (B, N).
        """
        return self._rows_of(tensor, self.kept)

    def _rows_of(self, tensor: Tensor, index: Tensor) -> Tensor:
        self._check(tensor)
        index = index.to(tensor.device)
        rows = torch.arange(index.shape[0], device=tensor.device)[:, None]
        taken = tensor[rows, index.clamp(min=0)]
        short = (index < 0).view(*index.shape, *[1] * (tensor.dim() - 2))
        return taken.masked_fill(short, 0)

    def _check(self, tensor: Tensor) -> None:
        if tuple(tensor.shape[:2]) != self.tokens.shape[:2]:
            raise TokensError(
                f"expected shape (B, N, ...) with (B, N) = {self.tokens.shape[:2]}; got {tuple(tensor.shape)}"
            )

    def coverage(self, theta: float | tuple[float, ...]) -> Tensor:
        """theta-coverage: the share of valid tokens whose highest cosine to a kept token is at least ``theta``.

        Args:
            theta: One threshold or several, each in [-1, 1].

        Returns:
            (B,) in [0, 1] for one threshold, (B, len(theta)) for several. 0 for rows that keep nothing.

        Raises:
            TokensError: a threshold is outside [-1, 1].
        """
        return share_within(theta, self.nearest()[1], self.tokens.valid)

    def nearest(self) -> tuple[Tensor, Tensor]:
        """The kept token that covers each token: itself if it is kept, else the one with the highest cosine to it.

        Returns:
            (B, N) int64 index of the kept token (of equals, the lowest), and (B, N) its cosine in [-1, 1]. -1 and minus
            infinity for padding and in rows that keep nothing.
        """
        return nearest_kept(self.tokens, self.kept, self.mask)

    @property
    def marks(self) -> Marks:
        """What overlays show of this selection."""
        merged = None
        if self.mixed is not None:
            merged = (self.mixed.weights != 0).any(1)
        elif self.assigned is not None:
            merged = self.assigned >= 0
        if merged is not None:
            merged = merged & ~self.mask & self.tokens.valid
        return Marks(self.tokens, self.picks, self.stage, merged, self.row_counts)

    def show(
        self,
        images: Any = None,
        *,
        view: View | None = None,
        grid: Grid | None = None,
        label: str = "",
        theta: float = 0.8,
        order: bool = False,
        numbers: bool = False,
        first: int | None = None,
    ) -> Image:
        """An overlay: kept patches in colour, merged ones dim, dropped ones dark and grey.

        Args:
            images: The image, in any form that towers read (path, Pillow image, array, ...), or a list with one image
                for each row of the selection. An image that the model cuts into tiles may be given as the list of its
                tiles. Without images, patches are drawn without pixels.
            view: Function from an image to what the model reads of it, e.g. ``tower.view`` or ``loaded.view``; it may
                return a list of tiles. If left out, an image of another shape than the grid is cropped to the middle,
                with a warning.
            grid: Rows and columns of the patches of a tile, if tokens do not reach the last ones.
            label: Name of the method, below the image.
            theta: Threshold of theta-coverage, in [-1, 1].
            order: True to colour outlines by the order of the picks.
            numbers: True to write its number, from 1, on each kept patch that is large enough.
            first: Show only this many picks.

        Raises:
            TokensError: tokens have no places, or the images and the selection do not go together.
            ZooError: an image cannot be read.
        """
        return page_of(
            images,
            {label: self.marks},
            texts={label: coverage_panels(theta, self.coverage(theta).tolist()) if first is None else None},
            view=view,
            grid=grid,
            order=order,
            numbers=numbers,
            first=first,
        )

    def share_of(self, values: Tensor) -> Tensor:
        """(B,) share of the sum of ``values`` that falls on kept tokens; ``values`` is (B, N), non-negative."""
        values = values.to(self.picks.device).masked_fill(~self.tokens.valid, 0)
        return (values * self.mask).sum(1) / values.sum(1)

    def to_dict(self, *, thetas: tuple[float, ...] = ()) -> dict[str, Any]:
        """Plain data for JSON: one entry per row with ``picks``, ``kept``, ``gains`` and ``scores``."""
        covered = self.coverage(thetas).tolist() if thetas else [[]] * len(self.counts)
        return {
            "rows": [
                {
                    "tokens": int(valid),
                    "count": count,
                    "picks": picks[:count],
                    "kept": kept[:count],
                    "gains": gains[:count],
                    "scores": scores[:count],
                    **({"theta_coverage": dict(zip(map(str, thetas), cover, strict=True))} if thetas else {}),
                }
                for valid, count, picks, kept, gains, scores, cover in zip(
                    self.tokens.n_valid,
                    self.counts,
                    self.picks.tolist(),
                    self.kept.tolist(),
                    self.gains.tolist(),
                    self.scores.tolist(),
                    covered,
                    strict=True,
                )
            ]
        }

    def to_json(self, **options: Any) -> str:
        """`to_dict` as a JSON text."""
        return json.dumps(self.to_dict(**options))

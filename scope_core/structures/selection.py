"""`Selection`: which tokens were kept, in which order, and what each pick was worth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.structures.tokens import VisualTokens

Order = Literal["raster", "stages", "picks"]


@dataclass(frozen=True, eq=False)
class Mixed:
    """The rows that the language model gets where tokens are merged, each a mix of tokens.

    Attributes:
        weights: (B, R, N) weight of each token in each row; zero beyond a group's rows.
        cls_weights: (B, R, N) weight of the CLS token of each token's tile, likewise; None where CLS is not used.
        sources: (B, R) int64 the kept token that a row stands for; -1 for rows of the merger's own, and for padding.
        counts: Rows of each group.
        cls_signal: Name of the signal with the CLS tokens; empty where CLS is not used.
    """

    weights: Tensor
    cls_weights: Tensor | None
    sources: Tensor
    counts: tuple[int, ...]
    cls_signal: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The outcome of selecting, one row per group (per image, as callers see it).

    Attributes:
        picks: (B, K) int64 token indices in the order they were picked, -1 where a row is shorter.
        gains: (B, K) coverage gain of each pick at the time it was made, NaN where a row is shorter.
        scores: (B, K) what the optimizer ranked by, likewise.
        tokens: The tokens that were selected from.
        stage: (B, K) int64 which stage of a chain made each pick; None where there was one stage.
        assigned: (B, N) int64 the kept token that each token was folded into by the selector (kept ones point at
            themselves, -1 at none); None where the selector folds nothing.
        order: In which order the kept tokens reach the language model: ``"raster"``, ``"stages"`` (stage by stage,
            raster inside each) or ``"picks"``.
        mixed: What a merger made of kept and dropped tokens; None if nothing is merged.
        allotted: Rows that the budget gives each group, those that a merger adds included; None where nobody said.
    """

    picks: Tensor
    gains: Tensor
    scores: Tensor
    tokens: VisualTokens
    stage: Tensor | None = None
    assigned: Tensor | None = None
    order: Order = "raster"
    mixed: Mixed | None = None
    allotted: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"Selection(counts={self.counts}, tokens={self.tokens.shape[1]})"

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Tokens kept in each row."""
        return tuple((self.picks >= 0).sum(1).tolist())

    @property
    def kept(self) -> Tensor:
        """(B, K) int64 kept indices in raster order, -1 at the end of shorter rows."""
        count = self.tokens.shape[1]
        ordered = self.picks.masked_fill(self.picks < 0, count).sort(dim=1).values
        return ordered.masked_fill(ordered == count, -1)

    @property
    def mask(self) -> Tensor:
        """(B, N) bool: True for kept tokens."""
        batch, count, _ = self.tokens.shape
        mask = torch.zeros((batch, count + 1), dtype=torch.bool, device=self.picks.device)
        return mask.scatter_(1, torch.where(self.picks < 0, count, self.picks), True)[:, :count]

    @property
    def arranged(self) -> Tensor:
        """(B, K) int64 kept indices in the order they reach the language model, -1 at the end of shorter rows."""
        if self.order == "picks":
            return self.picks
        if self.order == "raster" or self.stage is None:
            return self.kept
        count = self.tokens.shape[1]
        key = (self.stage * count + self.picks).masked_fill(self.picks < 0, torch.iinfo(torch.int64).max)
        return self.picks.gather(1, key.sort(dim=1).indices)

    @property
    def rows(self) -> Tensor:
        """(B, R) int64 the kept token that each row for the language model stands for, -1 for rows that a merger added.

        Rows of shorter groups end in -1 as well; `row_counts` says where.
        """
        return self.arranged if self.mixed is None else self.mixed.sources

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Rows that the language model gets of each group: the kept tokens, and what a merger added."""
        return self.counts if self.mixed is None else self.mixed.counts

    @property
    def weights(self) -> Tensor | None:
        """(B, R, N) weight of each token in each row; None if nothing is merged."""
        return None if self.mixed is None else self.mixed.weights

    def merge(self, tensor: Tensor, cls: Tensor | None = None) -> Tensor:
        """Rows for the language model of any tensor with the same token axis: kept tokens, mixed as the merger says.

        Args:
            tensor: (B, N, D) floating point.
            cls: (B, N, D) the CLS token of each token's tile, of the same D; read only where the merger uses it.

        Returns:
            (B, R, D) in the order of `rows`, in the dtype of ``tensor``; rows beyond `row_counts` are zero.

        Raises:
            TokensError: the first two axes are not (B, N), or ``cls`` is missing or of another shape.
        """
        if self.mixed is None:
            return self._rows_of(tensor, self.arranged)
        self._check(tensor)
        weights = self.mixed.weights.to(tensor.device)
        padding = ~self.tokens.valid.to(tensor.device)[..., None]  # may hold anything, and 0 x NaN is NaN
        mix = weights @ tensor.masked_fill(padding, 0).to(weights.dtype)
        if self.mixed.cls_weights is not None:
            if cls is None:
                raise TokensError("the merger mixes in the CLS token; give `cls`, (B, N, D), as well")
            if cls.shape != tensor.shape:
                raise TokensError(
                    f"the CLS tokens are of shape {tuple(cls.shape)}, the tokens they are mixed with of "
                    f"{tuple(tensor.shape)}; take them where the tokens are taken"
                )
            mix = mix + self.mixed.cls_weights.to(tensor.device) @ cls.masked_fill(padding, 0).to(weights.dtype)
        return mix.to(tensor.dtype)

    def gather(self, tensor: Tensor) -> Tensor:
        """Rows of the kept tokens of any tensor with the same token axis.

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
            raise TokensError(f"expected (B, N, ...) = {self.tokens.shape[:2]} first, got {tuple(tensor.shape)}")

    def coverage(self, theta: float | tuple[float, ...]) -> Tensor:
        """theta-coverage: share of all valid tokens whose best cosine to a kept token is at least ``theta``.

        Args:
            theta: One threshold or several, each in [-1, 1].

        Returns:
            (B,) in [0, 1] for one threshold, (B, len(theta)) for several. 0 where nothing is kept.
        """
        thetas = (theta,) if isinstance(theta, (int, float)) else tuple(theta)
        for given in thetas:
            if not -1 <= given <= 1:
                raise TokensError(f"theta is a cosine, so in [-1, 1]; got {given}")
        unit = replace(self.tokens, features=self.tokens.features.float()).unit()
        best = torch.einsum("bnd,bkd->bnk", unit, self.gather(unit))
        best = best.masked_fill((self.kept < 0)[:, None], -torch.inf)
        if best.shape[2] == 0:
            best = best.new_full((*best.shape[:2], 1), -torch.inf)
        # a token's cosine to itself is 1 up to rounding, so theta = 1.0 has to forgive that rounding
        covered = best.amax(2)[..., None] >= torch.tensor(thetas, device=best.device) - 1e-6
        covered = covered & self.tokens.valid[..., None]
        share = covered.sum(1) / self.tokens.valid.sum(1, keepdim=True).clamp(min=1)
        return share[:, 0] if isinstance(theta, (int, float)) else share

    def share_of(self, values: Tensor) -> Tensor:
        """(B,) share of the total of ``values`` (B, N, non-negative) that the kept tokens hold."""
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
                    self.tokens.valid.sum(1).tolist(),
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

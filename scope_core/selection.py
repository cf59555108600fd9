"""`Selection`: which tokens were kept, in which order, and what each pick was worth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.tokens import VisualTokens


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The outcome of selecting, one row per group (per image, as callers see it).

    Attributes:
        picks: (B, K) int64 token indices in the order they were picked, -1 where a row is shorter.
        gains: (B, K) coverage gain of each pick at the time it was made, NaN where a row is shorter.
        scores: (B, K) what the optimizer ranked by, likewise.
        tokens: The tokens that were selected from.
        weights: (B, K, N) rows of merge weights over all tokens, in the order of `kept`; None if nothing
            is merged.
    """

    picks: Tensor
    gains: Tensor
    scores: Tensor
    tokens: VisualTokens
    weights: Tensor | None = None

    def __repr__(self) -> str:
        return f"Selection(counts={self.counts}, tokens={self.tokens.shape[1]})"

    @property
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
        return mask.scatter(1, self.picks.masked_fill(self.picks < 0, count), True)[:, :count]

    def gather(self, tensor: Tensor) -> Tensor:
        """Rows of the kept tokens of any tensor with the same token axis.

        Args:
            tensor: (B, N, ...).

        Returns:
            (B, K, ...) in raster order; rows beyond a group's count are zero.

        Raises:
            TokensError: the first two axes are not (B, N).
        """
        if tuple(tensor.shape[:2]) != self.tokens.shape[:2]:
            raise TokensError(f"expected (B, N, ...) = {self.tokens.shape[:2]} first, got {tuple(tensor.shape)}")
        kept = self.kept.to(tensor.device)
        rows = torch.arange(kept.shape[0], device=tensor.device)[:, None]
        taken = tensor[rows, kept.clamp(min=0)]
        short = (kept < 0).view(*kept.shape, *[1] * (tensor.dim() - 2))
        return taken.masked_fill(short, 0)

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

"""Position priors and head weights from the tokens of many images, added up image by image."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.structures.tokens import VisualTokens


@dataclass
class PriorSum:
    """Saliency added up at each place of a tile."""

    total: Tensor | None = None
    count: int = 0

    def add(self, scores: Tensor, tokens: VisualTokens) -> None:
        """Add the (B, N) scores of some images.

        Raises:
            TokensError: a tile has no whole grid, or another one than those before.
        """
        for group, valid in enumerate(tokens.valid):
            keys = torch.stack([tokens.image[group], tokens.tile[group]], 1)
            for key in torch.unique(keys[valid], dim=0):
                cells = valid & (keys == key).all(1)
                row, col = tokens.row[group, cells], tokens.col[group, cells]
                shape = (int(row.max()) + 1, int(col.max()) + 1)
                if int(row.min()) < 0 or int(col.min()) < 0 or int(cells.sum()) != shape[0] * shape[1]:
                    raise TokensError(f"{tokens.name_of(group)} has no whole grid of tokens, so there are no places")
                if self.total is None:
                    self.total = torch.zeros(shape, dtype=torch.float64)
                check_same(tuple(self.total.shape), shape, tokens.name_of(group))
                self.total[row.cpu(), col.cpu()] += scores[group, cells].double().cpu()
                self.count += 1

    def values(self) -> tuple[tuple[float, ...], ...]:
        """The rows of the mean.

        Raises:
            TokensError: the mean is 0 somewhere, so that nothing can be divided by it.
        """
        mean = (torch.zeros(0, 0) if self.total is None else self.total) / max(self.count, 1)
        if not mean.numel() or float(mean.min()) <= 0:
            raise TokensError("the saliency is 0 at a place in every image, so scores cannot be divided by its mean")
        return tuple(tuple(row) for row in mean.tolist())


@dataclass
class HeadSum:
    """Maps of all heads, centred and of length 1, added up.

    A head's weight is 1 minus the mean correlation of its maps of any two images: near 0 for a head that attends to
    the same places in all of them, near 1 for one that follows what they show. A flat map counts as the same as any.
    """

    total: Tensor | None = None
    seen: Tensor = field(default_factory=lambda: torch.zeros(0))
    count: int = 0

    def add(self, maps: Tensor, tokens: VisualTokens) -> None:
        """Add the (B, H, N) maps of some images.

        Raises:
            TokensError: an image has not as many tokens as those before.
        """
        for group, valid in enumerate(tokens.valid):
            mine = maps[group][:, valid].double().cpu()
            mine = mine - mine.mean(1, keepdim=True)
            length = torch.linalg.vector_norm(mine, dim=1, keepdim=True)
            varied = length > 1e-9 * maps[group].double().abs().amax().cpu().clamp(min=1e-30)
            if self.total is None:
                self.total, self.seen = torch.zeros_like(mine), torch.zeros(len(mine), dtype=torch.float64)
            check_same(tuple(self.total.shape[1:]), tuple(mine.shape[1:]), tokens.name_of(group))
            self.total += torch.where(varied, mine / length.clamp(min=1e-300), torch.zeros_like(mine))
            self.seen += varied[:, 0]
            self.count += 1

    def values(self) -> tuple[float, ...]:
        """The weights, whose sum is 1.

        Raises:
            TokensError: there is one image, or all heads give the same map for every image.
        """
        if self.total is None or self.count < 2:
            raise TokensError("head weights come from what differs between images; give at least 2")
        pairs, varied = self.count * (self.count - 1), self.seen * (self.seen - 1)
        correlations = self.total.square().sum(1) - self.seen + pairs - varied
        weights = (1 - correlations / pairs).clamp(min=0)
        if float(weights.sum()) < 1e-9:
            raise TokensError("every head gives the same map for every image; give images that differ")
        return tuple((weights / weights.sum()).tolist())


def check_same(before: tuple[int, ...], now: tuple[int, ...], name: str) -> None:
    """Refuse an image whose tokens are not laid out like those of the images before.

    Raises:
        TokensError: names both.
    """
    if before != now:
        texts = [" x ".join(map(str, shape)) for shape in (now, before)]
        raise TokensError(f"{name} has {texts[0]} tokens, those before {texts[1]}; calibrate from images of one size")


STEPS = 50
"""Thresholds of a `LayerSum`, evenly from 0 to 1, besides 0."""


@dataclass
class LayerSum:
    """The share of tokens that remain behind each layer, at thresholds of attention mass, added up.

    At threshold a, a layer drops its tokens of lowest score whose scores add up to at most the share a of all of its
    scores; what one layer drops, those behind it do not have. Scores of all tokens are used at every layer.
    """

    total: Tensor | None = None
    count: int = 0

    def add(self, scores: Tensor, tokens: VisualTokens) -> None:
        """Add the (B, L, N) scores of some images in L layers, the first one first.

        Raises:
            TokensError: a score is negative.
        """
        thresholds = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
        for group, valid in enumerate(tokens.valid):
            mine = scores[group][:, valid].double().cpu()
            if mine.numel() and float(mine.min()) < 0:
                raise TokensError(f"{tokens.name_of(group)} has a score below 0, so scores are no shares of a mass")
            order = mine.sort(dim=1, stable=True)
            mass = order.values.cumsum(1)
            flat = torch.arange(1, mine.shape[1] + 1, dtype=torch.float64)
            mass = torch.where(mass[:, -1:] > 0, mass / mass[:, -1:].clamp(min=1e-300), flat / mine.shape[1])
            dropped_at = torch.empty_like(mass).scatter_(1, order.indices, mass).cummin(0).values
            kept = (dropped_at[:, None] > thresholds[:, None] + 1e-12).double().mean(2)
            self.total = kept if self.total is None else self.total + kept
            self.count += 1

    def values(self) -> tuple[tuple[float, ...], ...]:
        """(L, STEPS + 1) the mean share, a row for each layer."""
        mean = (torch.zeros(0, STEPS + 1) if self.total is None else self.total) / max(self.count, 1)
        return tuple(tuple(row) for row in mean.tolist())

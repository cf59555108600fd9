"""Frames that share the budget by their score, and the best tokens of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection, SpecError, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector, Slot, scores
from scope_plugins._frames import pieces_of
from scope_plugins.selector._rows import ranked, selection_of
from scope_plugins.selector._shares import remainder_shares


class FrameQuotaSpec(ComponentSpec):
    """Frames that share the budget; of each, the tokens of highest saliency."""

    name: Literal["frame_quota"] = "frame_quota"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency, computed over the whole group, by which each frame keeps its tokens."""
    of_frame: Annotated[ComponentSpec | None, Slot("saliency", optional=True)] = None
    """The saliency, computed over the whole group, that gives a frame its score; null: ``saliency``."""
    of_piece: Literal["mean", "sum"] = "mean"
    """The frame's score: the mean of its tokens' scores, or their sum, with which large pieces keep more."""
    partition: Annotated[ComponentSpec, Slot("partition")] = "frame"  # type: ignore[assignment]  # a part's bare name
    """The pieces that share the budget, called frames here."""
    curve: Literal["equal", "softmax", "raised", "linear"] = "softmax"
    """From scores to weights: all equal; ``softmax(score / temperature)``; ``1 + softmax - 1 / F`` for F frames
    (``raised``), so that none gets more than about twice its equal share; or the scores themselves (``linear``)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of the scores in a softmax; low values favour the best frames."""
    base: Annotated[int, Field(ge=0)] = 0
    """Tokens that each frame gets before the rest is divided, if there are enough."""
    rounding: Literal["each", "one"] = "each"
    """Where the tokens go that rounding down leaves: one to each frame of the largest remainders, or all to the one
    frame of the largest, as far as it has room, as V-CAST's release does."""
    least: Annotated[int, Field(ge=0)] = 1
    """Fewest tokens of a frame, if there are enough."""


class FrameQuota(Selector[FrameQuotaSpec]):
    """More tokens for frames that show something new, some for every frame, and a sum that is exact.

    Use it where tokens are judged by the whole video; in `quota`, the selector inside sees its piece alone.

    Frame f keeps about ``base + (K - F base) w_f / sum w`` tokens, between ``least`` (or its required ones) and all,
    rounded by largest remainder. What a frame cannot hold goes to the frames furthest below their share.
    Picks are frame by frame, each in order of saliency; ties go to the lowest index. All tokens equal: equal shares.
    Source: VidCom2, arXiv 2505.14454 (raised); V-CAST, arXiv 2603.27650 (softmax, base); GlobalCom2, arXiv 2501.05179
    (linear, over tiles).
    """

    equivariant = False
    copies = 0

    @property
    def reach(self) -> tuple[int, int] | None:  # type: ignore[override]  # follows from the options
        """That of the saliency, if all frames get equal shares."""
        alone = self.spec.curve == "equal" and self.spec.partition.name == "frame"
        return self.parts["saliency"].reach if alone else None

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """Nothing of the order of N x N."""
        return Execution()

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The picks of all frames, one frame after another."""
        score = scores(self.parts["saliency"], tokens)
        of_frame = score if self.spec.of_frame is None else scores(self.parts["of_frame"], tokens)
        labels = self.parts["partition"].label(tokens, keep)
        picks = []
        for group, (count, frames) in enumerate(zip(keep, pieces_of(labels), strict=True)):
            must = labels[group][tokens.required[group] & tokens.valid[group]]
            of_tokens = of_frame[group].double()
            shares = self.shares(
                count,
                [self._score(of_tokens[frame]) for frame in frames],
                must[must >= 0].bincount(minlength=len(frames)).tolist(),
                [len(frame) for frame in frames],
            )
            order = ranked(score[group], tokens, group)
            ranks = pieces_of(labels[group, order][None])[0]
            rows = [order[rank[:share]] for rank, share in zip(ranks, shares, strict=True)]
            picks.append(torch.cat(rows) if rows else order[:0])
        values = [score[group, row] for group, row in enumerate(picks)]
        return selection_of(picks, [torch.ones_like(value) for value in values], values, tokens)

    def shares(self, total: int, score: Sequence[float], must: Sequence[int], sizes: Sequence[int]) -> list[int]:
        """Tokens of each frame, which add up to ``total``."""
        least = [max(low, min(self.spec.least, size)) for low, size in zip(must, sizes, strict=True)]
        if sum(least) > total:
            least = list(must)
        return remainder_shares(
            total, self._weights(score), least, sizes, self.spec.base, one=self.spec.rounding == "one"
        )

    def _score(self, of_tokens: Tensor) -> float:
        return float(of_tokens.mean() if self.spec.of_piece == "mean" else of_tokens.sum())

    def _weights(self, score: Sequence[float]) -> list[float]:
        if self.spec.curve == "equal" or not score:
            return [1.0] * len(score)
        if self.spec.curve == "linear":
            if min(score) < 0:
                source = self.parts["saliency" if self.spec.of_frame is None else "of_frame"]
                raise SpecError(
                    f"selector {self}: saliency {source} gave a piece the score "
                    f"{min(score):.4g}; `curve: linear` needs scores of at least 0: choose a saliency that is not "
                    f"negative, or `curve: softmax`"
                )
            return list(score)
        of_each: Tensor = (torch.tensor(score, dtype=torch.float64) / self.spec.temperature).softmax(0)
        if self.spec.curve == "raised":
            of_each = 1 + of_each - 1 / len(score)
        weights: list[float] = of_each.tolist()
        return weights

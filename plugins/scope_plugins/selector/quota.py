"""Pieces of a group that share the budget by their score, with a selector inside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection, SpecError, VisualTokens, ungroup
from scope_core.parts import ComponentSpec, Execution, Selector, Slot, scores
from scope_plugins._frames import pieces_of
from scope_plugins.selector._shares import shares


class QuotaSpec(ComponentSpec):
    """A group cut into pieces; each keeps a share of the budget."""

    name: Literal["quota"] = "quota"
    partition: Annotated[ComponentSpec, Slot("partition")] = "chunks"  # type: ignore[assignment]  # a part's bare name
    """The division of the group into pieces."""
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency whose mean or sum over a piece, computed inside it, is the piece's score."""
    of_piece: Literal["mean", "sum"] = "mean"
    """The piece's score: with ``sum``, large pieces keep more; with the saliency `uniform`, it is their size."""
    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """Power of the scores: 0 gives equal shares, a high power nearly all to the best piece."""
    selector: Annotated[ComponentSpec, Slot("selector")]
    """The selector inside each piece."""
    most: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of one piece; with few pieces, fewer tokens than the budget are then kept. Null: no limit."""


class Quota(Selector[QuotaSpec]):
    """Every part of the image keeps some tokens, and parts of high score keep more.

    Use it where a selector would otherwise keep tokens of a few places only, as HoloV argues.

    Piece p keeps about ``K w_p`` tokens, ``w_p = score_p^sharpness / sum_q score_q^sharpness``. Counts are rounded
    down and limited to between the piece's required and its valid tokens, or ``most`` of them; the remaining tokens go
    one by one to the pieces of highest weight that have room, repeatedly if necessary. Picks are piece by piece; a
    piece kept whole stays in raster order. Source: HoloV, arXiv 2510.02912.
    """

    equivariant = False

    @property
    def adaptive(self) -> bool:  # follows from the options
        """True with ``most``, or if the selector inside is."""
        return self.spec.most is not None or bool(self.parts["selector"].adaptive)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The picks of all pieces, one piece after another."""
        pad = torch.nn.utils.rnn.pad_sequence
        pieces = pieces_of(self.parts["partition"].label(tokens, keep))
        flat = [piece + group * tokens.shape[1] if group else piece for group, of in enumerate(pieces) for piece in of]
        if not flat:
            empty = tokens.features.new_zeros((len(keep), 0))
            return Selection(empty.long(), empty, empty, tokens)
        index = pad(flat, batch_first=True, padding_value=-1)
        inside = tokens.regroup(index)
        valid = inside.valid.sum(1)
        score = scores(self.parts["saliency"], inside).masked_fill(~inside.valid, 0)
        score = score.double().sum(1)
        if self.spec.of_piece == "mean":
            score = score / valid
        if bool((score < 0).any()):
            raise SpecError(
                f"selector {self}: saliency {self.parts['saliency']} gave a piece of the image the score "
                f"{float(score.min()):.4g}; shares need scores of at least 0: choose a saliency that is not negative"
            )
        required, sizes = inside.n_required, inside.n_valid
        counts, start = [], 0
        for found, count in zip(pieces, keep, strict=True):
            in_group = slice(start, start + len(found))
            weights = self._weights(score[in_group])
            least, most = required[in_group], sizes[in_group]
            if self.spec.most is not None:
                most = tuple(min(size, max(self.spec.most, must)) for size, must in zip(most, least, strict=True))
            counts += shares(count, weights, least, most)
            start += len(found)
        selection = self.parts["selector"].select(inside, counts)
        if any(0 < kept == size for kept, size in zip(selection.counts, sizes, strict=True)):
            selection = _in_raster_order(selection, valid)
        return ungroup(selection, index, tokens)

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """That of the largest pieces that there can be; never refused, since they may be smaller."""
        pieces = [self.parts["partition"].largest(size) for size in sizes]
        whole: Execution = self.parts["selector"].execution(pieces, itemsize, free)
        return replace(whole, way="dense", reason="") if whole.way == "refuse" else whole

    def _weights(self, score: Tensor) -> list[float]:
        if self.spec.sharpness != 1 and bool((score > 0).any()):
            score = score / score.max()  # high powers would overflow
        weights: list[float] = (score**self.spec.sharpness).tolist()
        return weights


def _in_raster_order(selection: Selection, valid: Tensor) -> Selection:
    """The selection, with pieces that are kept whole, of ``valid`` (P,) tokens, in the order of their tokens."""
    picks, kept = selection.picks, selection.picks >= 0
    whole = (kept.sum(1) == valid)[:, None] & kept
    order = torch.where(whole, picks, torch.arange(picks.shape[1], device=picks.device)).argsort(1)
    columns = {name: getattr(selection, name) for name in ("picks", "gains", "scores", "stage")}
    return replace(
        selection, **{name: column.gather(1, order) for name, column in columns.items() if column is not None}
    )

"""Pieces of a group that share the budget by their score, with a selector inside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Layout, Selection, SpecError, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector, Slot, scores


class QuotaSpec(ComponentSpec):
    """A group cut into pieces; each keeps a share of the budget."""

    name: Literal["quota"] = "quota"
    partition: Annotated[ComponentSpec, Slot("partition")] = "chunks"  # type: ignore[assignment]  # a part's bare name
    """The division of the group into pieces."""
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency whose mean over a piece, computed inside it, is the piece's score."""
    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """Power of the scores: 0 gives equal shares, a high power nearly all to the best piece."""
    selector: Annotated[ComponentSpec, Slot("selector")]
    """The selector inside each piece."""


class Quota(Selector[QuotaSpec]):
    """Every part of the image keeps some tokens, and parts of high score keep more.

    Use it where a selector would otherwise keep tokens of a few places only, as HoloV argues.

    Piece p keeps about ``K w_p`` tokens, ``w_p = score_p^sharpness / sum_q score_q^sharpness``. Counts are rounded
    down and limited to between the piece's required and its valid tokens; the remaining tokens go one by one to the
    pieces of highest weight that have room, repeatedly if necessary. Picks are piece by piece; a piece kept whole stays
    in raster order. Source: HoloV, arXiv 2510.02912.
    """

    equivariant = False

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The picks of all pieces, one piece after another."""
        pad = torch.nn.utils.rnn.pad_sequence
        pieces = [self._pieces(tokens, group) for group in range(len(keep))]
        flat = [group * tokens.shape[1] + piece for group, found in enumerate(pieces) for piece in found]
        if not flat:
            empty = tokens.features.new_zeros((len(keep), 0))
            return Selection(empty.long(), empty, empty, tokens)
        index = pad(flat, batch_first=True, padding_value=-1)
        inside = tokens.regroup(index)
        valid = inside.valid.sum(1)
        score = scores(self.parts["saliency"], inside).masked_fill(~inside.valid, 0)
        score = (score.float() if score.element_size() < 4 else score).sum(1) / valid
        if bool((score < 0).any()):
            raise SpecError(
                f"selector {self}: saliency {self.parts['saliency']} gave a piece of the image the score "
                f"{float(score.min()):.4g}; shares need scores of at least 0: choose a saliency that is not negative"
            )
        required = (inside.required & inside.valid).sum(1).tolist()
        counts, start = [], 0
        for found, count in zip(pieces, keep, strict=True):
            in_group = slice(start, start + len(found))
            weights = self._weights(score[in_group].double())
            counts += shares(count, weights, required[in_group], valid[in_group].tolist())
            start += len(found)
        selection = self.parts["selector"].select(inside, counts)
        rows: list[list[Tensor]] = [[], [], []]
        start = 0
        for found in pieces:
            parts: list[list[Tensor]] = [[], [], []]
            for piece in range(start, start + len(found)):
                live = selection.picks[piece] >= 0
                order = live.nonzero().flatten()
                if len(order) == int(valid[piece]):
                    order = selection.picks[piece, order].argsort()
                parts[0].append(index[piece][selection.picks[piece, order]] % tokens.shape[1])
                parts[1].append(selection.gains[piece, order])
                parts[2].append(selection.scores[piece, order])
            start += len(found)
            kinds = (tokens.row, tokens.features, tokens.features)
            for row, column, kind in zip(rows, parts, kinds, strict=True):
                row.append(torch.cat(column) if column else kind.new_zeros(0))
        fills = (-1, torch.nan, torch.nan)
        padded = [pad(row, batch_first=True, padding_value=fill) for row, fill in zip(rows, fills, strict=True)]
        return Selection(padded[0], padded[1], padded[2], tokens)

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """At most the execution of whole groups; never refused, since the size of pieces also depends on the tiles."""
        whole = super().execution(sizes, itemsize, free)
        return replace(whole, way="dense", reason="") if whole.way == "refuse" else whole

    def _weights(self, score: Tensor) -> list[float]:
        if self.spec.sharpness != 1 and bool((score > 0).any()):
            score = score / score.max()  # high powers would overflow
        weights: list[float] = (score**self.spec.sharpness).tolist()
        return weights

    def _pieces(self, tokens: VisualTokens, group: int) -> list[Tensor]:
        """Token indices of each piece of a group."""
        index = tokens.valid[group].nonzero().flatten()
        image, tile = tokens.image[group][index].tolist(), tokens.tile[group][index].tolist()
        runs = [list(run) for _, run in groupby(range(len(index)), key=lambda i: image[i])]
        layout = Layout.of([[len(list(same)) for _, same in groupby(run, key=lambda i: tile[i])] for run in runs])
        first = [run[0] for run in runs]
        found = self.parts["partition"].split(layout)
        return [
            torch.cat([index[first[span.image] + span.start : first[span.image] + span.stop] for span in piece])
            for piece in found
        ]


def shares(total: int, weights: Sequence[float], least: Sequence[int], most: Sequence[int]) -> list[int]:
    """Whole numbers that add up to ``total``, about in proportion to ``weights``, between ``least`` and ``most``.

    If all weights are 0, they count as equal. Ties go to the lowest index.
    """
    if not sum(weights):
        weights = [1.0] * len(most)
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [min(max(int(e), low), high) for e, low, high in zip(exact, least, most, strict=True)]
    by_weight = sorted(range(len(counts)), key=lambda i: (-weights[i], i))
    while sum(counts) < total:
        for i in [i for i in by_weight if counts[i] < most[i]][: total - sum(counts)]:
            counts[i] += 1
    while sum(counts) > total:  # only if required tokens exceed the share of their piece
        for i in [i for i in reversed(by_weight) if counts[i] > least[i]][: sum(counts) - total]:
            counts[i] -= 1
    return counts

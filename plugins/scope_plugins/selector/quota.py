"""Shares for the pieces of a group by their score, and a selector inside each."""

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
    """How the group is cut into pieces."""
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """Saliency whose mean over a piece, computed inside it, is the piece's score."""
    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """Power of the scores: 0 for equal shares, high for the winner to take all."""
    selector: Annotated[ComponentSpec, Slot("selector")]
    """What selects inside each piece."""


class Quota(Selector[QuotaSpec]):
    """Piece p keeps about ``K w_p`` tokens, ``w_p = score_p^sharpness / sum_q score_q^sharpness``.

    Counts are rounded down, held between the piece's required and its valid tokens, and what is missing goes one by one
    to the pieces of highest weight that have room, over and over until all of it is placed. Picks are piece by piece;
    a piece kept whole stays in raster order. Source: HoloV, arXiv 2510.02912.
    """

    equivariant = False

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Each piece's picks, one piece after another."""
        pad = torch.nn.utils.rnn.pad_sequence
        pieces = [self._pieces(tokens, group) for group in range(len(keep))]
        flat = [group * tokens.shape[1] + piece for group, found in enumerate(pieces) for piece in found]
        if not flat:
            empty = tokens.features.new_zeros((len(keep), 0))
            return Selection(empty.long(), empty, empty, tokens)
        index = pad(flat, batch_first=True, padding_value=-1)
        inside = tokens.regroup(index)
        valid = inside.valid.sum(1)
        score = scores(self.parts["saliency"], inside).masked_fill(~inside.valid, 0).sum(1) / valid
        if bool((score < 0).any()):
            raise SpecError(
                f"selector {self}: saliency {self.parts['saliency']} gave a piece of the image the score "
                f"{float(score.min()):.4g}; shares need scores of at least 0, so choose a saliency that is not negative"
            )
        required = (inside.required & inside.valid).sum(1).tolist()
        counts, start = [], 0
        for found, count in zip(pieces, keep, strict=True):
            mine = slice(start, start + len(found))
            weights = self._weights(score[mine].double())
            counts += shares(count, weights, required[mine], valid[mine].tolist())
            start += len(found)
        made = self.parts["selector"].select(inside, counts)
        rows: list[list[Tensor]] = [[], [], []]
        start = 0
        for found in pieces:
            parts: list[list[Tensor]] = [[], [], []]
            for piece in range(start, start + len(found)):
                live = made.picks[piece] >= 0
                order = live.nonzero().flatten()
                if len(order) == int(valid[piece]):
                    order = made.picks[piece, order].argsort()
                parts[0].append(index[piece][made.picks[piece, order]] % tokens.shape[1])
                parts[1].append(made.gains[piece, order])
                parts[2].append(made.scores[piece, order])
            start += len(found)
            kinds = (tokens.row, tokens.features, tokens.features)
            for row, column, kind in zip(rows, parts, kinds, strict=True):
                row.append(torch.cat(column) if column else kind.new_zeros(0))
        fills = (-1, torch.nan, torch.nan)
        padded = [pad(row, batch_first=True, padding_value=fill) for row, fill in zip(rows, fills, strict=True)]
        return Selection(padded[0], padded[1], padded[2], tokens)

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """At most that of whole groups, and never refused: what the selector inside gets depends on the tiles, too."""
        made = super().execution(sizes, itemsize, free)
        return replace(made, way="dense", reason="") if made.way == "refuse" else made

    def _weights(self, score: Tensor) -> list[float]:
        if self.spec.sharpness != 1 and bool((score > 0).any()):
            score = score / score.max()  # high powers leave the range of numbers
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

    Equal weights if all are 0. Ties go to the lowest index.
    """
    if not sum(weights):
        weights = [1.0] * len(most)
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [min(max(int(e), low), high) for e, low, high in zip(exact, least, most, strict=True)]
    by_weight = sorted(range(len(counts)), key=lambda i: (-weights[i], i))
    while sum(counts) < total:
        for i in [i for i in by_weight if counts[i] < most[i]][: total - sum(counts)]:
            counts[i] += 1
    while sum(counts) > total:  # only where required tokens took more than their share
        for i in [i for i in reversed(by_weight) if counts[i] > least[i]][: sum(counts) - total]:
            counts[i] -= 1
    return counts

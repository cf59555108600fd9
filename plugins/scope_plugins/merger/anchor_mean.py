"""Kept tokens of some frames become means of the scene around them."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection, SpecError
from scope_core.parts import ComponentSpec, Merger, Slot
from scope_plugins.merger._targets import kept_rows


class AnchorMeanSpec(ComponentSpec):
    """Every frame with anchors takes in all other tokens of its segment."""

    name: Literal["anchor_mean"] = "anchor_mean"
    partition: Annotated[ComponentSpec, Slot("partition")] = "segment"  # type: ignore[assignment]  # a part's bare name
    """The segments; tokens are merged inside each."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Least weight of an anchor in its row."""
    stage: Annotated[int | None, Field(ge=0)] = None
    """The step of a chain, from 0, whose picks are anchors; picks of other steps stay as they are. Null: all picks."""


class AnchorMean(Merger[AnchorMeanSpec]):
    """Anchors stand for the tokens of their scene that look like them, in all its frames.

    Use it where some kept tokens are there for what they show themselves, and others to sum up the rest.

    In each segment, every token that is not a pick of another step is assigned to the most similar anchor of each frame
    that has anchors, anchors included; ties go to the lowest index. Of n tokens assigned to anchor k:
    ``y_k = w x_k + (1 - w) mean_j x_j`` with ``w = max(share, 1 / (n + 1))``. Source: FastVID, arXiv 2503.11187 (DTM).
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N) weights; rows sum to 1.

        Raises:
            SpecError: ``stage`` is given, but the selector is not a chain.
        """
        wanted = self.spec.stage
        if wanted is not None and selection.stage is None:
            raise SpecError(
                f"merger {self} has `stage: {wanted}`, but the selector has no steps; omit `stage`, or use 'chain'"
            )
        tokens, rows = selection.tokens, kept_rows(selection)
        labels = self.parts["partition"].label(tokens, selection.counts)
        frames, unit = tokens.frames(), tokens.unit()
        for group, order in enumerate(selection.arranged):
            live = selection.picks[group] >= 0
            picked = selection.picks[group, live]
            anchors = torch.ones_like(picked, dtype=torch.bool)
            if selection.stage is not None and wanted is not None:
                anchors = selection.stage[group, live] == wanted
            anchor = torch.zeros_like(tokens.valid[group])
            anchor[picked[anchors]] = True
            free = tokens.valid[group].clone()
            free[picked[~anchors]] = False
            place = torch.full_like(frames[group], -1)
            place[order[order >= 0]] = (order >= 0).nonzero().flatten()
            for frame in sorted(set(frames[group, anchor].tolist())):
                targets = (anchor & (frames[group] == frame)).nonzero().flatten()
                for label in sorted(set(labels[group, targets].tolist())):
                    inside = targets[labels[group, targets] == label]
                    sources = (free & (labels[group] == label)).nonzero().flatten()
                    home = (unit[group, sources] @ unit[group, inside].T).argmax(1)
                    rows[group, place[inside]] = self._rows(rows[group, place[inside]], home, sources)
        return rows

    def _rows(self, own: Tensor, home: Tensor, sources: Tensor) -> Tensor:
        """(T, N) rows of the anchors, from their own weights and the anchor of each source."""
        count = home.bincount(minlength=len(own)).to(own)[:, None]
        means = torch.zeros_like(own)
        means[home, sources] = 1
        weight = (1 / (count + 1)).clamp(min=self.spec.share)
        weight = torch.where(count > 0, weight, torch.ones_like(weight))
        return weight * own + (1 - weight) * means / count.clamp(min=1)

"""Runs of frames, cut so that most tokens stand still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, TokenPartition
from scope_plugins._frames import before


class StillSegmentsSpec(ComponentSpec):
    """Runs of frames in which as many tokens as possible stand still."""

    name: Literal["still_segments"] = "still_segments"
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.8
    """Least cosine of two tokens at one place in neighbouring frames, for the place to stand still."""


class StillSegments(TokenPartition[StillSegmentsSpec]):
    """Runs of frames that save most if what stands still in a run is kept once.

    Use it in `quota`, with the selector `trees` and ``span: all`` inside.

    A run of frames s to e saves ``(e - s)`` tokens for every place whose tokens have a cosine of at least ``threshold``
    to those of the frame before, in all its frames; the runs that save most together are found by dynamic programming.
    Of equally good last runs, the shortest is taken. All frames equal: one run. Images of a group are frames of one
    video. Source: HoliTom, NeurIPS 2025, arXiv 2505.21334.
    """

    reads_places = True

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The run of each token."""
        numbers, unit = tokens.frames(), tokens.unit()
        labels = torch.full_like(numbers, -1)
        for group, valid in enumerate(tokens.valid):
            if bool(valid.any()):
                still = self._still_for(before(tokens, group), numbers[group], unit[group])
                run = torch.tensor(runs(still), device=labels.device)
                labels[group, valid] = run[numbers[group, valid]]
        return labels

    def _still_for(self, earlier: Tensor, frame: Tensor, unit: Tensor) -> list[list[int]]:
        """For each frame, the numbers of frames for which its tokens have stood still."""
        linked = earlier >= 0
        now = linked.nonzero().flatten()
        linked[now] = (unit[now] * unit[earlier[now]]).sum(1) >= self.spec.threshold
        length = torch.zeros_like(frame)
        found = [[0] * int((frame == 0).sum())]
        for number in range(1, int(frame.max()) + 1):
            here = (frame == number).nonzero().flatten()
            length[here] = torch.where(linked[here], length[earlier[here]] + 1, 0)
            found.append(length[here].tolist())
        return found


def runs(still: Sequence[Sequence[int]]) -> list[int]:
    """The number of the run of each frame, from the frames for which each token of a frame has stood still."""
    saved, start = [0], [0]  # of the first e frames; where the last run of frames 0 to e begins
    for end, lengths in enumerate(still):
        best, first = saved[end], end
        for begin in range(end - 1, -1, -1):
            gain = saved[begin] + (end - begin) * sum(length >= end - begin for length in lengths)
            if gain > best:
                best, first = gain, begin
        saved.append(best)
        start = [*start[:end], first]
    cuts, end = set[int](), len(still) - 1
    while end >= 0:
        cuts.add(start[end])
        end = start[end] - 1
    return [sum(cut <= frame for cut in cuts) - 1 for frame in range(len(still))]

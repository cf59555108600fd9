"""Another selector, on some of the frames only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot


class FrameSampleSpec(ComponentSpec):
    """Some of the frames, chosen without looking at them."""

    name: Literal["frame_sample"] = "frame_sample"
    every: Annotated[int, Field(ge=1)] | None = None
    """Frames 0, n, 2n and so on; null: as few evenly spaced frames as can hold the tokens to keep."""
    start: Literal["first", "last"] = "first"
    """With ``every``, where frames are counted from: the first frame of the group, or the last."""
    selector: Annotated[ComponentSpec, Slot("selector")]
    """The selector of their tokens."""


class FrameSample(Selector[FrameSampleSpec]):
    """A video at fewer frames per second: a control, which looks at no frame to choose it.

    Use it to see whether a method is better than to drop frames.

    Without ``every``, the m frames nearest to the middles of m equal parts of the F frames, ``floor((2i + 1) F / 2m)``,
    for the smallest m whose frames hold the tokens to keep. With ``every: n``, frames 0, n, 2n; if these hold too few
    tokens, n is lowered until they do. Required tokens of other frames are kept too.
    Images of a group are frames of one video.
    """

    equivariant = False
    copies = 0

    @property
    def adaptive(self) -> bool:  # that of the selector inside
        """True if the selector inside is."""
        return bool(self.parts["selector"].adaptive)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The other selector's picks."""
        numbers = tokens.frames()
        left_out = torch.zeros_like(tokens.valid)
        for group, count in enumerate(keep):
            must = tokens.required[group] & tokens.valid[group]
            sizes = numbers[group][(numbers[group] >= 0) & ~must].bincount()
            chosen = self._frames(sizes.tolist(), count - int(must.sum()))
            left_out[group] = ~torch.isin(numbers[group], torch.tensor(chosen, device=tokens.device)) & ~must
        inside: Selection = self.parts["selector"].select(tokens.without(left_out), keep)
        return replace(inside, tokens=tokens)

    def _frames(self, sizes: Sequence[int], count: int) -> list[int]:
        """The numbers of the chosen frames, of frames with so many tokens."""
        frames = len(sizes)
        every = self.spec.every
        tries: list[list[int]]
        if every is not None:
            tries = [list(range(0, frames, step)) for step in range(every, 0, -1)]
            if self.spec.start == "last":
                tries = [[frames - 1 - frame for frame in reversed(chosen)] for chosen in tries]
        else:
            tries = [[(2 * i + 1) * frames // (2 * m) for i in range(m)] for m in range(1, frames + 1)]
        return next((chosen for chosen in tries if sum(sizes[i] for i in chosen) >= count), list(range(frames)))

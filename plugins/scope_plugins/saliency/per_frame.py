"""Another saliency source, inside each frame by itself."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores
from scope_plugins._frames import pieces_of


class PerFrameSpec(ComponentSpec):
    """Another source, inside each frame."""

    name: Literal["per_frame"] = "per_frame"
    of: Annotated[ComponentSpec, Slot("saliency")]
    """The source; means, scales and ranks that it takes of a group are those of a frame."""


class PerFrame(SaliencySource[PerFrameSpec]):
    """The score that each token would have if its frame were an image of its own.

    Use it for videos where tokens of all frames compete, but each is judged by its own frame.

    Images of a group are frames of one video. Source: V-CAST, arXiv 2603.27650.
    """

    reach = (0, 0)

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # that of the source
        """True if the source's scores are."""
        return bool(self.parts["of"].nonnegative)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in the range of the source; 0 for tokens that are not valid."""
        count = tokens.shape[1]
        pieces = pieces_of(tokens.frames())
        flat = [group * count + piece for group, found in enumerate(pieces) for piece in found]
        if not flat:
            return tokens.features.new_zeros(tokens.shape[:2])
        index = torch.nn.utils.rnn.pad_sequence(flat, batch_first=True, padding_value=-1)
        inside = scores(self.parts["of"], tokens.regroup(index))
        result = inside.new_zeros(tokens.shape[0] * count)
        result[index[index >= 0]] = inside[index >= 0]
        return result.view(tokens.shape[:2])

"""The share of tokens whose saliency is above a threshold."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Slot, Statistic, scores


class ShareAboveSpec(ComponentSpec):
    """The share of tokens above a threshold."""

    name: Literal["share_above"] = "share_above"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency. For a threshold relative to its maximum or mean, use `scaled` with that ``scale``."""
    threshold: float
    """The threshold; tokens must be above it to count."""


class ShareAbove(Statistic[ShareAboveSpec]):
    """How many tokens stand out, as a share of all.

    Use it with the budget `measured` to keep as many tokens as are above a threshold, whatever their number.

    ``|{j: a_j > threshold}| / n``. In [0, 1]; 0 for a group without tokens.
    """

    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,) in [0, 1]."""
        above = (scores(self.parts["saliency"], tokens) > self.spec.threshold) & tokens.valid
        return above.sum(1).to(tokens.features.dtype) / tokens.valid.sum(1).clamp(min=1)

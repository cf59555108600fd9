"""Original positions, as in the full prompt."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core.parts import ComponentSpec, PositionPolicy


class OriginalSpec(ComponentSpec):
    """Every remaining token keeps the position it had in the full prompt."""

    name: Literal["original"] = "original"


class Original(PositionPolicy[OriginalSpec]):
    """Positions with gaps, so that distances between kept tokens stay as they were; answers continue after the prompt.

    Without a mask and without a cache, transformers takes a gap for the start of another packed sequence and cuts
    attention there, so hosts give an explicit mask and refuse ``use_cache=False``.
    """

    gapped = True

    def position_ids(self, full: Tensor, index: Tensor, kept: Tensor) -> Tensor:
        """The positions of the remaining tokens in the full prompt; 0 for padding."""
        return full.gather(1, index.to(full.device)).masked_fill(~kept.to(full.device), 0)

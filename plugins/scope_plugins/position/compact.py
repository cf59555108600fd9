"""Compact positions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core.parts import ComponentSpec, PositionPolicy


class CompactSpec(ComponentSpec):
    """Number the shortened prompt without gaps."""

    name: Literal["compact"] = "compact"


class Compact(PositionPolicy[CompactSpec]):
    """Positions without gaps, as in methods that prune before the language model; safe with all caches."""

    def position_ids(self, full: Tensor, index: Tensor, kept: Tensor) -> None:
        """The model numbers the shortened prompt itself."""
        return None

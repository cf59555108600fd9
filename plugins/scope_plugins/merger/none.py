"""No merging."""

from __future__ import annotations

from typing import ClassVar, Literal

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger


class NoMergerSpec(ComponentSpec):
    """No merging: dropped tokens are discarded."""

    name: Literal["none"] = "none"


class NoMerger(Merger[NoMergerSpec]):
    """Kept tokens stay exactly as they are. Use it by default, as SCOPE does."""

    mixes: ClassVar[bool] = False

    def weights(self, selection: Selection) -> None:
        """No weights."""
        return None

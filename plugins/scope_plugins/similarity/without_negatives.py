"""Another similarity without its negative values."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric, Slot
from scope_plugins.similarity._rows import by_rows


class WithoutNegativesSpec(ComponentSpec):
    """Another similarity, with negative values set to 0 or shifted."""

    name: Literal["without_negatives"] = "without_negatives"
    of: Annotated[ComponentSpec, Slot("similarity")]
    """The similarity."""
    how: Literal["clamp", "shift"] = "clamp"
    """``clamp``: negative values become 0. ``shift``: [-1, 1] is mapped to [0, 1]; meant for cosines."""


class WithoutNegatives(SimilarityMetric[WithoutNegativesSpec]):
    """``S_ij = max(0, s_ij)``, or ``(1 + s_ij) / 2``. Use it for coverage functions that need at least 0."""

    bounds = (0.0, None)

    @property
    def matrices(self) -> float:  # type: ignore[override]  # follows from the similarity inside
        """Those of the similarity inside, or that matrix and the result."""
        return float(max(self.parts["of"].matrices, 2))

    @property
    def symmetric(self) -> bool:  # type: ignore[override]  # follows from the similarity inside
        """True if the similarity inside is symmetric."""
        return bool(self.parts["of"].symmetric)

    @property
    def mirrored(self) -> bool:  # type: ignore[override]  # follows from the similarity inside
        """True if the similarity inside is mirrored."""
        return bool(self.parts["of"].mirrored)

    @property
    def least_itemsize(self) -> int:  # type: ignore[override]  # follows from the similarity inside
        """That of the similarity inside."""
        return int(self.parts["of"].least_itemsize)

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N), at least 0 (for ``shift``: if the similarity is at least -1, up to rounding)."""
        matrix: Tensor = self.parts["of"].pairwise(tokens)
        if self.spec.how == "clamp":
            return matrix.clamp(min=0)

        def shifted(rows: slice) -> Tensor:
            moved = (1 + matrix[:, rows]) / 2
            return moved.masked_fill((moved < 0) & (moved > -1e-3), 0)  # a cosine of -1 up to rounding

        return by_rows(matrix, shifted)

"""Several similarities combined: weighted sum, or product."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric, Slot

ROWS = 64
"""Rows that are added up together, so that no whole weighted matrix is allocated."""


class BlendSpec(ComponentSpec):
    """A combination of similarities."""

    name: Literal["blend"] = "blend"
    of: Annotated[tuple[ComponentSpec, ...], Slot("similarity", many=True), Field(min_length=1)]
    """The similarities."""
    weights: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = ()
    """One weight per similarity of a sum, 0 or from 1e-6 on, scaled to add up to 1; by default all are equal."""
    how: Literal["sum", "product"] = "sum"
    """The combination of the similarities; a product takes no weights."""

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights and (self.how == "product" or len(self.weights) != len(self.of) or sum(self.weights) <= 0):
            raise ValueError(
                f"give one weight per similarity of a sum, not all 0: {len(self.of)} similarities, how: {self.how}, "
                f"weights {list(self.weights)}"
            )
        if any(0 < weight < 1e-6 for weight in self.weights):
            raise ValueError(f"weights must be 0 or from 1e-6 to 1e6: {list(self.weights)}")
        return self


class Blend(SimilarityMetric[BlendSpec]):
    """``S_ij = sum_s w_s S_sij`` with weights that add up to 1, or ``prod_s S_sij``.

    Sums and products of positive semi-definite similarities are positive semi-definite.
    """

    @property
    def symmetric(self) -> bool:  # type: ignore[override]  # follows from the similarities inside
        """True if all similarities inside are symmetric."""
        return all(part.symmetric for part in self.parts["of"])

    @property
    def mirrored(self) -> bool:  # type: ignore[override]  # follows from the similarities inside
        """True if all similarities inside are mirrored."""
        return all(part.mirrored for part in self.parts["of"])

    @property
    def matrices(self) -> float:  # type: ignore[override]
        """The largest at any time: one similarity after the other, besides the sum so far."""
        first, *others = (part.matrices for part in self.parts["of"])
        return float(max(first, 2, *(1 + other for other in others)))

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N); its range follows from the similarities."""
        parts, product = self.parts["of"], self.spec.how == "product"
        weights = (1.0,) * len(parts) if product or not self.spec.weights else self.spec.weights
        shares = [weight if product else weight / sum(weights) for weight in weights]
        total: Tensor = parts[0].pairwise(tokens).to(tokens.features.dtype) * shares[0]
        for part, share in zip(parts[1:], shares[1:], strict=True):
            matrix = part.pairwise(tokens).to(total.dtype)
            for start in range(0, matrix.shape[1], ROWS):
                out, rows = total[:, start : start + ROWS], matrix[:, start : start + ROWS]
                _ = out.mul_(rows) if product else out.add_(rows * share)
            del matrix, rows  # frees memory for the next similarity
        return total

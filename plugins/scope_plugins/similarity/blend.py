"""Several similarities as one: their weighted sum, or product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from scope_core import ComponentSpec, SimilarityMetric, Slot

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from scope_core import VisualTokens


class BlendSpec(ComponentSpec):
    """Similarities mixed."""

    name: Literal["blend"] = "blend"
    of: Annotated[tuple[ComponentSpec, ...], Slot("similarity", many=True), Field(min_length=1)]
    """The similarities."""
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """One weight per similarity of a sum, made to add up to 1. Left out: equal weights."""
    how: Literal["sum", "product"] = "sum"
    """How the similarities become one number; a product takes no weights."""

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights and (self.how == "product" or len(self.weights) != len(self.of) or sum(self.weights) <= 0):
            raise ValueError(
                f"give one weight per similarity of a sum, not all 0: {len(self.of)} similarities, how: {self.how}, "
                f"weights {list(self.weights)}"
            )
        return self


class Blend(SimilarityMetric[BlendSpec]):
    """``S_ij = sum_s w_s S_sij`` with weights that add up to 1, or ``prod_s S_sij``.

    Sums and products of positive semi-definite similarities are positive semi-definite again.
    """

    @property
    def symmetric(self) -> bool:  # type: ignore[override]  # as the similarities inside
        """Whether all similarities inside are."""
        return all(part.symmetric for part in self.parts["of"])

    @property
    def matrices(self) -> int:  # type: ignore[override]
        """Those inside, weighted, and put side by side."""
        return 3 * len(self.parts["of"])

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N); its range follows from the similarities."""
        import torch

        matrices = [part.pairwise(tokens).to(tokens.features.dtype) for part in self.parts["of"]]
        if self.spec.how == "product":
            return torch.stack(matrices).prod(0)
        weights = self.spec.weights or (1.0,) * len(matrices)
        whole = sum(weights)
        return torch.stack([matrix * (weight / whole) for matrix, weight in zip(matrices, weights, strict=True)]).sum(0)

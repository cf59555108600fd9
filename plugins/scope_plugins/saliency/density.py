"""How many tokens are like each token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, similarities


class DensitySpec(ComponentSpec):
    """A sum over all tokens that falls with their distance."""

    name: Literal["density"] = "density"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens; distance is 1 minus it, at least 0."""
    width: Annotated[float, Field(gt=0)] = 2.0
    """The distance at which a token counts 1/e of one at distance 0."""


class Density(SaliencySource[DensitySpec]):
    """Tokens in the middle of many that are like them, which can stand in for the others.

    Use it as the order in which `suppress` visits tokens: it then finds centres of clusters, densest first.

    ``a_j = sum_i exp(-(d_ij / width)^2)`` over the tokens of the group, itself included. Source: PACT, CVPR 2025, arXiv
    2504.08966.
    """

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 1 for valid tokens."""
        distance = (1 - similarities(self.parts["similarity"], tokens)).clamp(min=0)
        distance.diagonal(dim1=1, dim2=2).zero_()
        near = (-(distance / self.spec.width).square()).exp()
        return near.masked_fill(~tokens.valid[:, None], 0).sum(2)

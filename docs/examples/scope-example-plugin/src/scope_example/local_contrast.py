"""Local contrast: a token matters if it differs from its neighbours on the grid. Needs no signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import TokensError
from scope_core.parts import ComponentSpec, SaliencySource

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class LocalContrastSpec(ComponentSpec):
    """Distance of a token's features to the mean of its neighbours."""

    name: Literal["example.local_contrast"] = "example.local_contrast"
    radius: Annotated[int, Field(ge=1)] = 1
    """Neighbours are the tokens at most this many rows and columns away; 1 gives the eight around a token."""


class LocalContrast(SaliencySource[LocalContrastSpec]):
    """``a_j = || x_j - mean of x_i over the neighbours i of j ||``; 0 for a token without neighbours."""

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0."""
        if bool(((tokens.row < 0) & tokens.valid).any()):
            raise TokensError(f"saliency {self} needs a token grid; pass grid=(rows, columns) to scope_core.select")
        near = tokens.valid[:, None, :]  # (B, 1, N), grows to (B, N, N): is i a neighbour of j?
        for place in (tokens.row, tokens.col):
            near = near & ((place[:, :, None] - place[:, None, :]).abs() <= self.spec.radius)
        for owner in (tokens.tile, tokens.image):
            near = near & (owner[:, :, None] == owner[:, None, :])
        weight = near.to(tokens.features)
        weight.diagonal(dim1=1, dim2=2).zero_()  # a token is no neighbour of itself
        count = weight.sum(2, keepdim=True)
        features = tokens.features.masked_fill(~tokens.valid[..., None], 0)
        contrast = (features - weight @ features / count.clamp(min=1)).norm(dim=-1)
        return contrast.masked_fill(count[..., 0] == 0, 0)

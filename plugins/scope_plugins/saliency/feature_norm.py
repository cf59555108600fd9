"""Norm of each token's features. Reads no signal, so it works with every model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._norms import norms


class FeatureNormSpec(ComponentSpec):
    """The p-norm of each token's features."""

    name: Literal["feature_norm"] = "feature_norm"
    order: Annotated[float, Field(gt=0)] = 2.0
    """p of the norm; 2 is the Euclidean length."""


class FeatureNorm(SaliencySource[FeatureNormSpec]):
    """``a_j = ||x_j||_p``."""

    reach = (0, 0)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0."""
        return norms(tokens.features, self.spec.order)

"""Product: SCOPE's score."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Combiner, ComponentSpec
from scope_plugins.combiner._power import power


class ProductSpec(ComponentSpec):
    """``gain x saliency^alpha``."""

    name: Literal["product"] = "product"
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of saliency: 0 is coverage alone, large values approach saliency alone."""


class Product(Combiner[ProductSpec]):
    """Tokens that are both salient and not yet covered by the kept ones.

    Use it by default: the scale of the saliency changes no pick. Saliency must be at least 0.

    ``score_j = g_j * a_j^alpha``. Source: SCOPE, arXiv 2510.24214.
    """

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) ``a^alpha``."""
        return power(saliency, self.spec.alpha, tokens, str(self))

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset of the gain."""
        return saliency, torch.zeros_like(saliency)

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the product."""
        return gain * saliency

"""How many directions the features of a group spread over."""

from __future__ import annotations

from math import exp
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Statistic
from scope_plugins.statistic._spectrum import entropy, spectra


class EffectiveRankSpec(ComponentSpec):
    """Exponential of the entropy of the features' singular values."""

    name: Literal["effective_rank"] = "effective_rank"
    centred: bool = False
    """Subtract the mean token first."""
    unit: bool = False
    """Scale tokens to length 1 before that, so that directions count and lengths do not."""
    over: Annotated[float, Field(gt=0)] = 1.0
    """Divide by this number, e.g. by the average over images like yours: above 1 are then the complex ones."""


class EffectiveRank(Statistic[EffectiveRankSpec]):
    """Small for images of few different parts, large for those of many.

    Use it where a number of directions is meant, as for a count of tokens; `spectral_entropy` is its counterpart from
    0 to 1.

    ``exp(-sum_k p_k log p_k) / over``, with ``p_k = s_k / sum s`` of the singular values s of the tokens' features.
    From 1 to min(n, D), before the division; 1 if all tokens are equal. Source: Roy and Vetterli, "The effective rank",
    EUSIPCO 2007; AgilePruner, arXiv 2603.01236.
    """

    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,), at least ``1 / over``; 0 for a group without tokens."""
        values = spectra(tokens, centred=self.spec.centred, unit=self.spec.unit)
        ranks = [exp(entropy(each.sqrt())) / self.spec.over if len(each) else 0.0 for each in values]
        return tokens.features.new_tensor(ranks)

"""How evenly the features of a group spread over directions."""

from __future__ import annotations

from math import log
from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Statistic
from scope_plugins.statistic._spectrum import entropy, spectra


class SpectralEntropySpec(ComponentSpec):
    """Entropy of the eigenvalues of the features' covariance, divided by its largest possible value."""

    name: Literal["spectral_entropy"] = "spectral_entropy"
    centred: bool = True
    """Subtract the mean token first."""
    unit: bool = True
    """Scale tokens to length 1 before that, so that directions count and lengths do not."""


class SpectralEntropy(Statistic[SpectralEntropySpec]):
    """Low for images in which a few things stand out, high for those that differ everywhere.

    Use it to give salient tokens a larger share in the first kind, and diverse ones in the second.

    ``H = -sum_k p_k log p_k / log min(n, D)``, with ``p_k = l_k / sum l`` of the eigenvalues l of ``X X^T``, X the n
    tokens of width D. In [0, 1]; 0 if all tokens are equal up to rounding. Source: PromPrune, arXiv 2603.14892.
    """

    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,) in [0, 1]."""
        values = spectra(tokens, centred=self.spec.centred, unit=self.spec.unit)
        return tokens.features.new_tensor([entropy(each) / log(len(each)) if len(each) > 1 else 0.0 for each in values])

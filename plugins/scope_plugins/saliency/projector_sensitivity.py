"""Change of the projector's output under small changes of each token."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class ProjectorSensitivitySpec(ComponentSpec):
    """Sensitivity of the projector at each token."""

    name: Literal["projector_sensitivity"] = "projector_sensitivity"


class ProjectorSensitivity(SaliencySource[ProjectorSensitivitySpec]):
    """The tokens whose small changes the language model would notice most.

    Use it where there is no attention to read. The signal is made by `scope_adapters.ProjectorSensitivity` from your
    model's projector, and given to `attach`.

    ``a_j = mean_u ||f(x_j + h u) - f(x_j - h u)|| / 2h`` over random directions u. Source: ZOO-Prune, arXiv 2509.24837.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The sensitivity, computed by the host."""
        return frozenset({"projector.sensitivity"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0."""
        return tokens.signal("projector.sensitivity").clamp(min=0)

"""Change of each token between two layers of the language model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._norms import norms


class HiddenChangeSpec(ComponentSpec):
    """Distance between a token's states at two points of the language model."""

    name: Literal["hidden_change"] = "hidden_change"
    layer: Annotated[int, Field(ge=1)]
    """The decoder layer whose input is compared, counted from 0; at most that of the stage, ``decoder[k]``."""
    before: Annotated[int | None, Field(ge=0)] = None
    """The layer whose input it is compared with; null: the one before."""
    order: Annotated[float, Field(gt=0)] = 2.0
    """p of the norm: 2 is the Euclidean length."""

    @model_validator(mode="after")
    def _earlier(self) -> Self:
        if self.before is not None and self.before >= self.layer:
            raise ValueError(f"before is {self.before}, but must be below layer, {self.layer}")
        return self

    @property
    def points(self) -> tuple[str, str]:
        """The two signals, the later one first."""
        before = self.layer - 1 if self.before is None else self.before
        return f"decoder.hidden[{self.layer}]", f"decoder.hidden[{before}]"


class HiddenChange(SaliencySource[HiddenChangeSpec]):
    """The tokens that the language model still works on; those that pass through unchanged may go.

    Use it inside the language model with any attention kernel: it reads hidden states and no attention.

    ``a_j = ||h_j^(k) - h_j^(l)||_p``, h^(k) the input of layer k. Source: V2Drop, arXiv 2509.01552.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Hidden states at two layers."""
        return frozenset(self.spec.points)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0."""
        after, before = (tokens.signal(name) for name in self.spec.points)
        return norms(after - before, self.spec.order)

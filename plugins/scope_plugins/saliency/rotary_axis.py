"""How close the rotary embedding of each visual token's position is to no rotation, or to a quarter turn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class RotaryAxisSpec(ComponentSpec):
    """The mean over channels of the cosine or the sine of a token's rotation."""

    name: Literal["rotary_axis"] = "rotary_axis"
    axis: Literal["cosine", "sine"] = "cosine"
    """``cosine``: the largest for positions that are hardly rotated; ``sine``: for those turned by 90 degrees."""
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer at which positions are read, counted from 0; at most that of the stage, ``decoder[k]``."""


class RotaryAxis(SaliencySource[RotaryAxisSpec]):
    """The visual tokens by whose positions the language model can tell places, whatever they show.

    Use it inside the language model beside another source, for questions about where things are.

    ``a_j = mean_c cos(p_j f_c)`` or ``mean_c sin(p_j f_c)``: p is the token's position, f the frequencies of the rotary
    embedding; the mean over axes where positions have several. Source: IVC-Prune, ICLR 2026, arXiv 2602.03060.
    """

    nonnegative = False

    @property
    def needs(self) -> frozenset[str]:
        """Cosines or sines at one layer."""
        return frozenset({f"decoder.rotary_{self.spec.axis}s[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [-1, 1]."""
        (name,) = self.needs
        return tokens.signal(name).mean(2)

"""How much the prompt's text and the image say about each other, by attention inside the language model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Statistic


class TextInformationSpec(ComponentSpec):
    """Mutual information of the text after the images and their tokens, at one layer of the language model."""

    name: Literal["text_information"] = "text_information"
    layer: Annotated[int, Field(ge=0)] = 0
    """The decoder layer whose attention is read, counted from 0; at most that of the stage, ``decoder[k]``."""


class TextInformation(Statistic[TextInformationSpec]):
    """High where different words look at different places, low where all look alike or hardly at the image.

    Use it for how demanding a question is. At layer 0 all stages read the same number: no stage drops tokens before it.

    ``I = sum_h sum_xy p(x) p_h(y|x) log2(p_h(y|x) / p_h(y))``, in bits: p_h(y|x) is the attention of head h from text
    token x to visual token y, p(x) the same for all. 0 without text after the image; all words alike: 0, or slightly
    below. Source: AutoPrune, NeurIPS 2025, arXiv 2509.23931.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The information of each head."""
        return frozenset({f"decoder.text_information[{self.spec.layer}]"})

    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,) bits, summed over heads."""
        (name,) = self.needs
        return tokens.signal(name).sum(1)

"""A saliency that stands in for CLIP's relevance in the image of CDPruner, where no CLIP can be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl


class RelevanceSpec(ComponentSpec):
    """Cosine of each token to the words of the question."""

    name: Literal["docs.relevance"] = "docs.relevance"


class Relevance(SaliencySource[RelevanceSpec]):
    """The mean over words of their cosine to each projected token, in the language model's space."""

    nonnegative = False

    @property
    def needs(self) -> frozenset[str]:
        """The words, and the tokens in their space."""
        return frozenset({"text.embeddings", "projected"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [-1, 1]."""
        words = normalize(tokens.signal("text.embeddings").float(), dim=-1)
        return (words @ normalize(tokens.signal("projected").float(), dim=-1).mT).mean(1)


@hookimpl
def scope_saliency_sources() -> Iterator[Entry]:
    """The saliency above."""
    yield Entry(RelevanceSpec, Relevance, "cosine of each token to the words of the question")

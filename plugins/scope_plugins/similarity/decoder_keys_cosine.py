"""Cosine similarity of keys inside the language model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins.similarity._cosines import cosines, unit


class DecoderKeysCosineSpec(ComponentSpec):
    """Cosine of the angle between two tokens' keys at one layer of the language model, all heads concatenated."""

    name: Literal["decoder_keys_cosine"] = "decoder_keys_cosine"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose keys are read, counted from 0; at most that of the stage, ``decoder[k]``."""


class DecoderKeysCosine(SimilarityMetric[DecoderKeysCosineSpec]):
    """Tokens are alike if the language model attends to them alike.

    Use it inside the language model for clusters of tokens that stand in for each other; keys carry positions, so
    tokens far apart are less alike.

    ``S_ij`` is the cosine of the keys after the rotary embedding. Source: PACT, CVPR 2025, arXiv 2504.08966.
    """

    symmetric = mirrored = True
    bounds = (-1.0, 1.0)
    matrices = 1

    @property
    def needs(self) -> frozenset[str]:
        """The keys of one layer."""
        return frozenset({f"decoder.keys[{self.spec.layer}]"})

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [-1, 1] up to rounding."""
        return cosines(tokens, *self._keys(tokens))

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, C) keys scaled to length 1."""
        return unit(tokens, *self._keys(tokens))

    def _keys(self, tokens: VisualTokens) -> tuple[Tensor, str]:
        name = f"decoder.keys[{self.spec.layer}]"
        return tokens.signal(name).to(tokens.features.dtype).transpose(1, 2).flatten(2), f"signal '{name}'"

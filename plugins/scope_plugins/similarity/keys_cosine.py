"""Cosine similarity of key projections."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins.similarity._cosines import cosines, unit


class KeysCosineSpec(ComponentSpec):
    """Cosine of the angle between two tokens' keys at one layer of the tower."""

    name: Literal["keys_cosine"] = "keys_cosine"
    layer: int = -2
    """The layer whose keys are read, counted as in ``hidden_states``: -1 is the last layer."""
    heads: Literal["mean", "concat"] = "mean"
    """A token's key: the mean over heads, or all heads concatenated."""


class KeysCosine(SimilarityMetric[KeysCosineSpec]):
    """Tokens are alike if the tower attends to them alike.

    Use it for merging, where keys summarise a token with less noise than features (ToMe).

    ``S_ij`` is the cosine of ``mean_h k_hi`` and ``mean_h k_hj``, or of the concatenated keys of all heads.
    Sources: ToMe, arXiv 2210.09461, and VisionZip, arXiv 2412.04467 (mean over heads); PruMerge, arXiv 2403.15388
    (concatenated).
    """

    symmetric = mirrored = True
    bounds = (-1.0, 1.0)
    matrices = 1

    @property
    def needs(self) -> frozenset[str]:
        """The keys of one layer."""
        return frozenset({f"vision.keys[{self.spec.layer}]"})

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [-1, 1] up to rounding."""
        return cosines(tokens, *self._keys(tokens))

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, C) keys scaled to length 1."""
        return unit(tokens, *self._keys(tokens))

    def _keys(self, tokens: VisualTokens) -> tuple[Tensor, str]:
        name = f"vision.keys[{self.spec.layer}]"
        keys = tokens.signal(name).to(tokens.features.dtype)  # (B, H, N, C)
        vectors = keys.mean(1) if self.spec.heads == "mean" else keys.transpose(1, 2).flatten(2)
        return vectors, f"signal '{name}'"

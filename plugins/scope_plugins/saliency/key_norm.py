"""Norm of each token's keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, SignalName
from scope_plugins._norms import norms


class KeyNormSpec(ComponentSpec):
    """The p-norm of each token's keys at one layer."""

    name: Literal["key_norm"] = "key_norm"
    of: SignalName = "vision.keys[-2]"
    """The keys: ``vision.keys[l]`` of the tower, or ``decoder.keys[k]`` of the language model."""
    order: Annotated[float, Field(gt=0)] = 2.0
    """p of the norm: 2 is the Euclidean length, 1 the sum of absolute values."""
    heads: Literal["concat", "mean", "sum"] = "concat"
    """``concat``: the norm of the keys of all heads concatenated; otherwise the mean or sum of each head's norm."""


class KeyNorm(SaliencySource[KeyNormSpec]):
    """Tokens whose keys are long vectors.

    Use it where attention weights are not available: DART chooses its pivots by the 1-norm of a decoder layer's keys.

    ``a_j = ||k_j||_p``. Source: DART, arXiv 2502.11494.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The keys."""
        return frozenset({self.spec.of})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0.

        Raises:
            TokensError: the signal is not of shape (B, H, N, C).
        """
        keys = tokens.signal(self.spec.of)
        if keys.dim() != 4 or keys.shape[2] != tokens.shape[1]:
            raise TokensError(
                f"saliency {self}: signal '{self.spec.of}' has shape {tuple(keys.shape)}; expected keys, (B, H, N, C) "
                f"with N={tokens.shape[1]}"
            )
        if self.spec.heads == "concat":
            return norms(keys.transpose(1, 2).flatten(2), self.spec.order)
        each = norms(keys, self.spec.order)
        return each.mean(1) if self.spec.heads == "mean" else each.sum(1)

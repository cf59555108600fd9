"""Facility location of the text: how well every word is represented by its best kept token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.text_facility_location import TextFacilityLocationKernel


class TextFacilityLocationSpec(ComponentSpec):
    """Mean over the text's tokens of the best similarity to a kept visual token."""

    name: Literal["text_facility_location"] = "text_facility_location"
    against: str = "features"
    """The vectors that the text's embeddings are compared with: the features, or a signal in the same space
    (``projected``)."""
    temperature: Annotated[float, Field(ge=1e-6)] | None = 0.02
    """Temperature of a softmax over each text token's cosines; null uses the cosines themselves, negatives counting
    as 0."""
    rows: Literal["mean", "sum"] = "mean"
    """Mean or sum over the text tokens."""


@dataclass
class _State:
    similarity: Tensor  # (B, M, N) float64
    best: Tensor  # (B, M)


class TextFacilityLocation(CoverageFunction[TextFacilityLocationSpec]):
    """Every word of the prompt should have a kept token that is similar to it.

    Use it where the question says which parts of the image matter; together with `facility_location` in `stacked` it
    is the objective of MMTok. A prompt without text gives gains of 0.

    Monotone and submodular. ``f(A) = mean_t max(0, max_{j in A} T_tj)``,
    ``T_t = softmax_j(cos(z_t, x_j) / temperature)`` over the valid tokens, in float64; ``z`` are ``text.embeddings``,
    whose rows of zeros are padding. ``T`` is rounded to a grid on which sums of its rows are exact: multiples of 2^-49
    of its largest entry for 7 text tokens, of 2^-46 for 63. Source: MMTok, arXiv 2508.18264 (temperature 0.02).
    """

    uses_similarity = False
    monotone = True
    submodular = True
    kernel = TextFacilityLocationKernel()

    @property
    def needs(self) -> frozenset[str]:
        """The text's embeddings, and the signal they are compared with."""
        return frozenset({"text.embeddings", self.spec.against} - {"features"})

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet.

        Raises:
            TokensError: text and tokens differ in width, or contain numbers that are not finite.
        """
        rows = self.words(tokens)
        rows = arithmetic.on_grid(rows, arithmetic.rounding_constant(rows.mT))  # last axis: the terms of each sum
        return _State(rows, rows.new_zeros(rows.shape[:2]))

    def words(self, tokens: VisualTokens) -> Tensor:
        """(B, M, N) float64 similarity of each text token to each visual token."""
        text = tokens.signal("text.embeddings").to(tokens.features.dtype)
        name = self.spec.against
        vectors = tokens.features if name == "features" else tokens.signal(name).to(tokens.features.dtype)
        if vectors.dim() != 3 or text.dim() != 3 or text.shape[2] != vectors.shape[2]:
            raise TokensError(
                f"coverage {self} compares text.embeddings of shape {tuple(text.shape)} with {name} of shape "
                f"{tuple(vectors.shape)}; their last sizes must agree: set `at: projected`, or `against: projected`"
            )
        if not bool(torch.isfinite(text).all()):
            raise TokensError(f"coverage {self}: text.embeddings contains numbers that are not finite")
        tokens.check_finite(name, vectors)
        real = (text != 0).any(-1)  # (B, M)
        words = replace(tokens, features=text, valid=torch.ones_like(real)).unit()
        # float64, because a small temperature magnifies rounding errors, which depend on the number of rows
        rows = words.double() @ replace(tokens, features=vectors).unit().double().mT
        pairs = real[:, :, None] & tokens.valid[:, None, :]
        if self.spec.temperature is not None:
            rows = (rows / self.spec.temperature).masked_fill(~pairs, -torch.inf).softmax(2)
        rows = rows.masked_fill(~pairs, 0)
        if self.spec.rows == "mean":
            rows = rows / real.sum(1).clamp(min=1)[:, None, None]
        return rows

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0; in [0, 1] for ``mean``."""
        return (state.similarity - state.best[:, :, None]).clamp_(min=0).sum(1)

    def add(self, state: _State, pick: Tensor) -> _State:
        """Every text token is covered at least as well as the pick covers it."""
        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        return _State(state.similarity, state.best.maximum(state.similarity.gather(2, index)[..., 0]))

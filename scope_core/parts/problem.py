"""`Problem`: the tokens and the scoring parts that an optimizer gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scope_core.display import brief_repr
from scope_core.errors import PluginOutputError, SpecError, TokensError
from scope_core.memory import UNCHECKED_BYTES, free_for
from scope_core.parts.calls import attribute_errors, expect, is_writable
from scope_core.parts.combiner import Combiner
from scope_core.parts.coverage import CoverageFunction
from scope_core.parts.execution import WAYS, Execution, Scoring, Way, matrix_bytes, plan_execution, reads_similarity
from scope_core.parts.saliency import SaliencySource
from scope_core.parts.similarity import SimilarityMetric
from scope_core.structures.plain import all_finite, extremes
from scope_core.structures.tokens import VisualTokens


@dataclass(frozen=True, eq=False)
class Problem:
    """The tokens and the four scoring parts that an optimizer gets; each output is computed once and checked.

    Attributes:
        tokens: The candidates.
        source: The saliency source.
        metric: The similarity metric.
        coverage: The coverage function.
        combiner: Combines gain and saliency into one score.
        memory: Bytes that N x N matrices may take; None for nine tenths of the free memory.
    """

    tokens: VisualTokens
    source: SaliencySource[Any]
    metric: SimilarityMetric[Any]
    coverage: CoverageFunction[Any]
    combiner: Combiner[Any]
    memory: int | None = None

    __repr__ = brief_repr

    @property
    def candidates(self) -> Tensor:
        """(B, N) bool: tokens that may be picked."""
        return self.tokens.valid

    @cached_property
    def raw_saliency(self) -> Tensor:
        """(B, N) saliency as the source gives it, checked; ones if the combiner reads no saliency."""
        tokens = self.tokens
        if not self.combiner.uses_saliency:
            return tokens.features.new_ones(tokens.shape[:2])
        return scores(self.source, tokens)

    @cached_property
    def saliency(self) -> Tensor:
        """(B, N) saliency after the combiner's `prepare`, checked."""
        raw = self.raw_saliency
        with attribute_errors(self.combiner, "prepare", self.tokens):
            prepared = self.combiner.prepare(raw, self.tokens)
        expect(prepared, self.tokens.shape[:2], f"combiner {self.combiner}: prepare()", self.tokens)
        return prepared

    @property
    def scoring(self) -> Scoring:
        """The three parts that turn similarities into scores."""
        return Scoring(self.metric, self.coverage, self.combiner)

    @property
    def uses_similarity(self) -> bool:
        """True if any part reads the N x N matrix."""
        return reads_similarity(self.scoring)

    @property
    def mirrored(self) -> bool:
        """True if row i of the similarities is column i, to the last bit."""
        whole = self.tokens.device.type == "cpu" and self.tokens.features.element_size() >= 4
        return whole and bool(self.metric.mirrored) and self.combiner.condition is None

    def execution(self, ways: Sequence[Way] = WAYS) -> Execution:
        """The way in which the picks of all groups together are computed, given the memory that is free now."""
        (batch, count, _), features, parts = self.tokens.shape, self.tokens.features, self.scoring
        itemsize, allowed, free = features.element_size(), self.memory, None
        if "similarity" in self.__dict__:  # already computed, so its memory is already taken
            allowed = None
        elif self.uses_similarity:
            free = free_for(self._matrices, allowed, features.device)
        return plan_execution(parts, (count,) * batch, itemsize, ways, allowed, free, features.device)

    @property
    def _matrices(self) -> int:
        """Bytes of the similarities of all groups and what is made of them."""
        batch, count, _ = self.tokens.shape
        return batch * self.matrix_bytes(count)

    def matrix_bytes(self, count: int) -> int:
        """Bytes of the similarities of a group of ``count`` tokens and what is made of them, at least 1."""
        itemsize = self.tokens.features.element_size()
        return max(1, matrix_bytes(self.metric, self.coverage, count, itemsize, self.combiner))

    def who(self) -> str:
        """The groups, for messages."""
        batch = self.tokens.shape[0]
        return self.tokens.name_of(0) if batch == 1 else f"{batch} groups"

    def sizes(self) -> list[int]:
        """The tokens of each group up to its last candidate, at least 1."""
        count = self.tokens.shape[1]
        last = self.tokens.valid.flip(1).to(torch.uint8).argmax(1)
        return (count - last).where(self.tokens.valid.any(1), 1).tolist()

    def some(self, group: int, count: int, groups: int = 1) -> Problem:
        """The same problem for one group alone, or several from ``group`` on, of ``count`` tokens each."""
        problem = replace(self, tokens=self.tokens.only(group, count, groups))
        for name in ("raw_saliency", "saliency"):  # a source may look at all groups together
            problem.__dict__[name] = getattr(self, name)[group : group + groups, :count]
        return problem

    @cached_property
    def similarity(self) -> Tensor | None:
        """(B, N, N) similarity, checked, zero in rows and columns of padding; None if no part reads it."""
        if not self.uses_similarity:
            return None
        if self.memory is not None or self._matrices > UNCHECKED_BYTES:
            self.execution(("dense",)).check(self.who)
        matrix, saliency = similarities(self.metric, self.tokens), self.saliency
        if self.combiner.condition is not None:
            with attribute_errors(self.combiner, "condition"):
                conditioned = self.combiner.condition(matrix, saliency)
            if conditioned is not matrix:
                matrix = _without_padding(conditioned, f"combiner {self.combiner}: condition()", self.tokens)
        if self.coverage.nonnegative_similarity and matrix.numel():
            self.check_nonnegative(matrix.amin())
        return matrix

    def check_nonnegative(self, lowest: Tensor) -> None:
        """Refuse negative similarities.

        Raises:
            SpecError: ``lowest``, the lowest similarity, is negative.
        """
        if bool(lowest < 0):
            raise SpecError(
                f"coverage {self.coverage} is defined for similarities of at least 0, but similarity "
                f"{self.metric} gave {float(lowest):.4g}; choose a similarity without negative values"
            )

    def start(self) -> object:
        """The coverage function's state for the empty set."""
        similarity = self.similarity
        with attribute_errors(self.coverage, "start", self.tokens):
            state: object = self.coverage.start(similarity, self.tokens)  # type: ignore[arg-type]  # None if unused
        return state

    def gain(self, state: object) -> Tensor:
        """(B, N) marginal gains, checked."""
        with attribute_errors(self.coverage, "gain"):
            gain = self.coverage.gain(state)
        expect(gain, self.tokens.shape[:2], f"coverage {self.coverage}: gain()", self.tokens)
        return gain

    def add(self, state: object, pick: Tensor) -> object:
        """The state after picking token ``pick[b]`` of each group."""
        with attribute_errors(self.coverage, "add"):
            next_state: object = self.coverage.add(state, pick)
        return next_state

    def score(self, gain: Tensor) -> Tensor:
        """(B, N) scores, checked."""
        saliency = self.saliency
        with attribute_errors(self.combiner, "combine"):
            score = self.combiner.combine(gain, saliency)
        expect(score, self.tokens.shape[:2], f"combiner {self.combiner}: combine()", self.tokens)
        return score


def scores(source: SaliencySource[Any], tokens: VisualTokens) -> Tensor:
    """(B, N) saliency of ``tokens`` from ``source``, checked. Always use this function to call a source.

    Saliency that the caller gave (``select(..., saliency=...)``) replaces that of a source that reads signals.

    Raises:
        PluginOutputError: the source did not return a floating-point tensor of this shape.
        TokensError: a valid token's score is not finite, or all scores are too small for their dtype.
    """
    name = f"saliency {source}"
    if tokens.saliency is not None and source.needs:
        _check_scores("the given saliency", tokens.saliency, tokens)
        return tokens.saliency
    with attribute_errors(source, "score", tokens):
        saliency = source.score(tokens)
    expect(saliency, tokens.shape[:2], f"{name}: score()", tokens)
    name += f" (from {', '.join(sorted(source.needs))})" if source.needs else ""
    _check_scores(name, saliency, tokens)
    return saliency


def _check_scores(name: str, saliency: Tensor, tokens: VisualTokens) -> None:
    """Refuse scores that are not finite, or all so small that they have lost digits.

    Raises:
        TokensError: names the saliency.
    """
    if not saliency.numel():
        return
    lowest, highest = extremes(saliency)
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        tokens.check_finite(name, saliency)
    least = torch.finfo(saliency.dtype).tiny
    if highest < least:  # all of it, padding included: rarely so
        size = saliency.detach().abs().masked_fill(~tokens.valid, 0).amax(1)
        if bool(((size > 0) & (size < least)).any()):
            raise TokensError(
                f"{name} is at most {float(size.max()):.4g}, below {least:.4g}, from which on "
                f"{str(saliency.dtype)[6:]} loses digits, so tokens cannot be told apart; use `dtype: float64`, or "
                f"saliency of another scale"
            )


def similarities(metric: SimilarityMetric[Any], tokens: VisualTokens) -> Tensor:
    """(B, N, N) similarity of ``tokens`` from ``metric``, checked. Always use this function to call a metric.

    Rows and columns of padding are zero.

    Raises:
        PluginOutputError: the metric did not return a floating-point tensor of this shape, or numbers that are not
            finite.
    """
    with attribute_errors(metric, "pairwise", tokens):
        matrix = metric.pairwise(tokens)
    return _without_padding(matrix, f"similarity {metric}: pairwise()", tokens)


def similarity_rows(metric: SimilarityMetric[Any], tokens: VisualTokens, index: Tensor) -> Tensor:
    """(B, T, N) rows of `similarities`: of the tokens in ``index`` (B, T) to all; 0 where the index is negative.

    From the metric's vectors, if it has any, which takes a share T / N of the matrix's time. In half precision these
    would round otherwise than the matrix does, so it is computed.

    Raises:
        PluginOutputError: as for `similarities`.
    """
    whole = index.device.type == "cpu" and index.numel() > 0 and int(index.amin()) >= 0
    real, at = (index >= 0)[..., None], index.clamp(min=0)[..., None]

    def taken(columns: Tensor) -> Tensor:
        rows = columns.gather(1, at.expand(-1, -1, columns.shape[2]))
        return rows if whole else rows.masked_fill(~real, 0)

    vectors = None
    if metric.vectors is not None and tokens.features.element_size() >= 4:
        with attribute_errors(metric, "vectors", tokens):
            vectors = metric.vectors(tokens)
    if vectors is not None:
        width = vectors.shape[-1] if isinstance(vectors, Tensor) and vectors.dim() else 0
        expect(vectors, (*tokens.shape[:2], width), f"similarity {metric}: vectors()", tokens)
        if tokens.padded:
            vectors = vectors.masked_fill(~tokens.valid[..., None], 0)
        rows = taken(vectors) @ vectors.mT
        if all_finite(rows):
            return rows
    return taken(similarities(metric, tokens))


def _without_padding(matrix: Tensor, what: str, tokens: VisualTokens) -> Tensor:
    """The similarity matrix, checked, with zeros in rows and columns of padding."""
    expect(matrix, (*tokens.shape[:2], tokens.shape[1]), what, tokens)
    if tokens.padded:
        matrix = matrix if is_writable(matrix, tokens) else matrix.clone()
        matrix.masked_fill_(~tokens.valid[:, :, None], 0).masked_fill_(~tokens.valid[:, None, :], 0)
    if not all_finite(matrix):
        group, row, col = (int(i) for i in (~torch.isfinite(matrix)).nonzero()[0])
        raise PluginOutputError(
            f"{what} gave {float(matrix[group, row, col])} for {tokens.name_of(group, row)} and token {col}; "
            f"selection needs finite numbers: look for overflow in half precision"
        )
    return matrix

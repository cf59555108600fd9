"""`Problem`: what an optimizer works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, SpecError
from scope_core.memory import UNCHECKED_BYTES, free_for
from scope_core.parts.calls import blamed, expect, is_writable
from scope_core.parts.combiner import Combiner
from scope_core.parts.coverage import CoverageFunction
from scope_core.parts.execution import WAYS, Execution, Scoring, Way, matrix_bytes, plan_execution, reads_similarity
from scope_core.parts.saliency import SaliencySource
from scope_core.parts.similarity import SimilarityMetric
from scope_core.structures.tokens import VisualTokens, all_finite


@dataclass(frozen=True, eq=False)
class Problem:
    """What an optimizer works on: tokens and the four parts, outputs checked and computed once.

    Attributes:
        tokens: The candidates.
        source: Where saliency comes from.
        metric: Where similarity comes from.
        coverage: The set function.
        combiner: Makes one score of gain and saliency.
        memory: Bytes that similarities and what is made of them may take; None for nine tenths of what is free.
    """

    tokens: VisualTokens
    source: SaliencySource[Any]
    metric: SimilarityMetric[Any]
    coverage: CoverageFunction[Any]
    combiner: Combiner[Any]
    memory: int | None = None

    @property
    def candidates(self) -> Tensor:
        """(B, N) bool: tokens that may be picked."""
        return self.tokens.valid

    @cached_property
    def raw_saliency(self) -> Tensor:
        """(B, N) the source's scores, checked; ones where the combiner reads no saliency."""
        tokens = self.tokens
        if not self.combiner.uses_saliency:
            return tokens.features.new_ones(tokens.shape[:2])
        return scores(self.source, tokens)

    @cached_property
    def saliency(self) -> Tensor:
        """(B, N) saliency as the combiner wants it."""
        raw = self.raw_saliency
        with blamed(self.combiner, "prepare", self.tokens):
            prepared = self.combiner.prepare(raw, self.tokens)
        expect(prepared, self.tokens.shape[:2], f"combiner {self.combiner}: prepare()", self.tokens)
        return prepared

    @property
    def scoring(self) -> Scoring:
        """The parts that make scores of similarities."""
        return Scoring(self.metric, self.coverage, self.combiner)

    @property
    def uses_similarity(self) -> bool:
        """Whether any part reads the N x N matrix."""
        return reads_similarity(self.scoring)

    def execution(self, ways: Sequence[Way] = WAYS) -> Execution:
        """How picks are made of all groups together, with the memory that there is now."""
        (batch, count, _), features, parts = self.tokens.shape, self.tokens.features, self.scoring
        itemsize, allowed, free = features.element_size(), self.memory, None
        if "similarity" in self.__dict__:  # it has taken its memory already
            allowed = None
        elif self.uses_similarity:
            free = free_for(self._matrices, allowed, features.device)
        return plan_execution(parts, (count,) * batch, itemsize, ways, allowed, free, features.device)

    @property
    def _matrices(self) -> int:
        """Bytes of the similarities of all groups and what is made of them."""
        (batch, count, _), itemsize = self.tokens.shape, self.tokens.features.element_size()
        return batch * matrix_bytes(self.metric, self.coverage, count, itemsize, self.combiner)

    @property
    def who(self) -> str:
        """The groups, for messages."""
        batch = self.tokens.shape[0]
        return self.tokens.name_of(0) if batch == 1 else f"{batch} groups"

    def one(self, group: int) -> Problem:
        """The same problem of one group alone, without the padding behind its last candidate."""
        places = self.tokens.valid[group].nonzero()
        count = int(places[-1]) + 1 if len(places) else 1
        alone = replace(self, tokens=self.tokens.only(group, count))
        for name in ("raw_saliency", "saliency"):  # a source may look at all groups together
            alone.__dict__[name] = getattr(self, name)[group : group + 1, :count]
        return alone

    @cached_property
    def similarity(self) -> Tensor | None:
        """(B, N, N), rows and columns of padding zero; None where no part reads it."""
        if not self.uses_similarity:
            return None
        if self.memory is not None or self._matrices > UNCHECKED_BYTES:
            self.execution(("dense",)).check(self.who)
        with blamed(self.metric, "pairwise", self.tokens):
            matrix = self.metric.pairwise(self.tokens)
        matrix, saliency = self._real_pairs(matrix, f"similarity {self.metric}: pairwise()"), self.saliency
        if self.combiner.condition is not None:
            with blamed(self.combiner, "condition"):
                conditioned = self.combiner.condition(matrix, saliency)
            if conditioned is not matrix:
                matrix = self._real_pairs(conditioned, f"combiner {self.combiner}: condition()")
        if self.coverage.nonnegative_similarity and matrix.numel():
            self.check_nonnegative(matrix.amin())
        return matrix

    def check_nonnegative(self, lowest: Tensor) -> None:
        """Refuse a coverage function similarities that it is not defined for.

        Raises:
            SpecError: the lowest similarity is negative.
        """
        if bool(lowest < 0):
            raise SpecError(
                f"coverage {self.coverage} is defined for similarities of at least 0, and similarity "
                f"{self.metric} gave {float(lowest):.4g}; choose a similarity without negative values"
            )

    def _real_pairs(self, matrix: Tensor, what: str) -> Tensor:
        """A similarity matrix, checked, with rows and columns of padding zero."""
        tokens = self.tokens
        expect(matrix, (*tokens.shape[:2], tokens.shape[1]), what, tokens)
        if not bool(tokens.valid.all()):
            matrix = matrix if is_writable(matrix, tokens) else matrix.clone()
            matrix.masked_fill_(~tokens.valid[:, :, None], 0).masked_fill_(~tokens.valid[:, None, :], 0)
        if not all_finite(matrix):
            group, row, col = (int(i) for i in (~torch.isfinite(matrix)).nonzero()[0])
            raise PluginOutputError(
                f"{what} gave {float(matrix[group, row, col])} for {tokens.name_of(group, row)} and token {col}; "
                f"selection needs finite numbers: look for overflow in half precision"
            )
        return matrix

    def start(self) -> object:
        """The coverage function's state of the empty set."""
        similarity = self.similarity
        with blamed(self.coverage, "start", self.tokens):
            state: object = self.coverage.start(similarity, self.tokens)  # type: ignore[arg-type]  # None if not used
        return state

    def gain(self, state: object) -> Tensor:
        """(B, N) marginal gains, checked."""
        with blamed(self.coverage, "gain"):
            gain = self.coverage.gain(state)
        expect(gain, self.tokens.shape[:2], f"coverage {self.coverage}: gain()", self.tokens)
        return gain

    def add(self, state: object, pick: Tensor) -> object:
        """The state after picking token ``pick[b]`` of each group."""
        with blamed(self.coverage, "add"):
            after: object = self.coverage.add(state, pick)
        return after

    def score(self, gain: Tensor) -> Tensor:
        """(B, N) scores, checked."""
        saliency = self.saliency
        with blamed(self.combiner, "combine"):
            score = self.combiner.combine(gain, saliency)
        expect(score, self.tokens.shape[:2], f"combiner {self.combiner}: combine()", self.tokens)
        return score


def scores(source: SaliencySource[Any], tokens: VisualTokens) -> Tensor:
    """(B, N) what ``source`` says of ``tokens``, checked; the one way to ask a saliency source.

    Saliency that a caller gave (``select(..., saliency=...)``) stands in for a source that reads signals.

    Raises:
        PluginOutputError: it returned no floating-point tensor of that shape.
        TokensError: a valid token's score is not finite.
    """
    name = f"saliency {source}"
    if tokens.saliency is not None and source.needs:
        tokens.check_finite("the given saliency", tokens.saliency)
        return tokens.saliency
    with blamed(source, "score", tokens):
        saliency = source.score(tokens)
    expect(saliency, tokens.shape[:2], f"{name}: score()", tokens)
    name += f" (from {', '.join(sorted(source.needs))})" if source.needs else ""
    tokens.check_finite(name, saliency)
    return saliency

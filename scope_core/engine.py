"""The selection engine: parts and tensors in, picks out. Knows no part by name and no model at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scope_core import blocks, room
from scope_core.checks import blamed, expect
from scope_core.errors import BudgetError, PluginOutputError, SpecError
from scope_core.interfaces import Combiner, CoverageFunction, Picks, SaliencySource, SimilarityMetric, outdated
from scope_core.memory import own
from scope_core.structures.tokens import VisualTokens, all_finite

_STEPS = ("start", "gain", "add")


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
    def uses_similarity(self) -> bool:
        """Whether any part reads the N x N matrix."""
        return self.coverage.uses_similarity and self.combiner.uses_coverage

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
        room.check_room(self)
        with blamed(self.metric, "pairwise", self.tokens):
            matrix = self.metric.pairwise(self.tokens)
        matrix, saliency = self._real_pairs(matrix, f"similarity {self.metric}: pairwise()"), self.saliency
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
            matrix = matrix if own(matrix, tokens) else matrix.clone()
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

    def picks(self, keep: Sequence[int]) -> Picks | None:
        """Greedy's picks from the coverage function's faster way, if it has one and the combiner is of its form.

        In blocks where there is no room for the matrix and the parts can do without it.
        """
        if (form := self._form()) is None or outdated(self.coverage, "picks", *_STEPS):
            return None
        if "similarity" not in self.__dict__ and room.no_room(self) and not self.why_no_blocks():
            return self._checked(blocks.picks(self, form, keep), keep)
        similarity = self.similarity
        with blamed(self.coverage, "picks"):
            made = self.coverage.picks(similarity, self.tokens, *form, keep)  # type: ignore[arg-type]
        if made is None:
            return None
        check_table(made, f"coverage {self.coverage}: picks()", keep)
        return self._checked(made, keep)

    def _checked(self, made: Picks, keep: Sequence[int]) -> Picks:
        check_picks(made, self, keep)
        return made

    def picks_in_blocks(self, keep: Sequence[int]) -> Picks:
        """Greedy's picks without the matrix.

        Raises:
            SpecError: there is no such way; `why_no_blocks` says why.
            TooLargeError: there is no room for vectors either.
        """
        form = self._form()
        if form is None or self.why_no_blocks():
            raise SpecError(f"there is no way without the matrix: {self.why_no_blocks() or 'a score is no number'}")
        return self._checked(blocks.picks(self, form, keep), keep)

    def _form(self) -> tuple[Tensor, Tensor] | None:
        """(B, N) float64 scale and offset of the score; None where it is not of that form."""
        if not self.combiner.uses_coverage or self.tokens.features.element_size() < 4:
            return None
        if outdated(self.combiner, "affine", "combine"):
            return None
        form = self.combiner.affine(self.saliency)
        if form is None:
            return None
        scale, offset = (column.double().expand(self.tokens.shape[:2]) for column in form)
        if not (all_finite(scale) and all_finite(offset)):  # padding may hold anything
            padding = ~self.tokens.valid
            scale, offset = scale.masked_fill(padding, 0), offset.masked_fill(padding, 0)
            if not (all_finite(scale) and all_finite(offset)):
                return None  # the loop says which score is no number
        return scale, offset

    def why_no_picks(self) -> str:
        """Why `picks` has no answer, in words; empty where it has one."""
        if why := self._why_no_form():
            return why
        if outdated(self.coverage, "picks", *_STEPS):
            return f"coverage {self.coverage} changes the steps of greedy of the class it inherits picks() from"
        reason = self.coverage.why_no_picks(self.similarity)  # type: ignore[arg-type]  # None if not used
        return reason and f"coverage {self.coverage}: {reason}"

    def why_no_blocks(self) -> str:
        """Why nothing can be picked without the matrix, in words; empty where it can."""
        if not self.uses_similarity:
            return "no part reads one"
        return blocks.Blocks.why_not(self.metric, self.coverage, self.combiner) or self._why_no_form()

    def _why_no_form(self) -> str:
        if not self.combiner.uses_coverage:
            return f"combiner {self.combiner} reads no coverage"
        if self.tokens.features.element_size() < 4:
            return f"sums in {self.tokens.features.dtype} are rounded at each step, as published; use dtype: float32"
        if outdated(self.combiner, "affine", "combine"):
            return f"combiner {self.combiner} changes combine() of the class it inherits affine() from"
        if self.combiner.affine(self.saliency) is None:
            return f"the score of combiner {self.combiner} is not of the form gain * scale + offset"
        return ""

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


def greedy(problem: Problem, keep: Sequence[int], *, at_once: bool = True) -> Picks:
    """Exact greedy: pick the highest score, add it, repeat. Ties break to the lowest index.

    Groups of unequal counts run together; required tokens are picked before the others. For a monotone
    submodular coverage used alone the result is within 1 - 1/e of the best set (Nemhauser et al. 1978);
    weighted by saliency there is no such bound.

    Args:
        problem: Tokens and parts.
        keep: How many to pick of each group.
        at_once: Whether a coverage function that has a faster way to the same picks (``CoverageFunction.picks``) may
            take it.

    Returns:
        (B, max(keep)) picks with their gains and scores.
    """
    tokens = problem.tokens
    made = problem.picks(keep) if at_once else None
    if made is not None:
        return made
    batch, count, _ = tokens.shape
    if not problem.combiner.uses_coverage:  # scores never change, so greedy is a ranking
        gain = tokens.features.new_ones((batch, count))
        return rank(problem.score(gain), gain, problem, keep)
    counts = torch.tensor(keep, device=tokens.device)
    available = problem.candidates.clone()
    rows = torch.arange(batch, device=tokens.device)
    picks, gains, scores = [], [], []
    state = problem.start()
    for step in range(max(keep, default=0)):
        gain = problem.gain(state)
        score = problem.score(gain).masked_fill(~allowed(available, tokens.required), -torch.inf)
        pick = score.argmax(1)
        live = step < counts
        picks.append(pick.masked_fill(~live, -1))
        gains.append(gain[rows, pick].masked_fill(~live, torch.nan))
        scores.append(score[rows, pick].masked_fill(~live, torch.nan))
        available[rows, pick] = False
        state = problem.add(state, pick)
    made = Picks(_stack(picks, tokens, torch.int64), _stack(gains, tokens), _stack(scores, tokens))
    check_picks(made, problem, keep)
    return made


def rank(score: Tensor, gain: Tensor, problem: Problem, keep: Sequence[int]) -> Picks:
    """The ``keep[b]`` highest scores of each group at once; ties break to the lowest index."""
    tokens = problem.tokens
    # three levels: required, candidates, the rest; scores only decide within a level
    level = problem.candidates.to(torch.int8) + (tokens.required & problem.candidates).to(torch.int8)
    by_score = score.masked_fill(~problem.candidates, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    by_level = level.gather(1, by_score).sort(dim=1, descending=True, stable=True).indices
    order = by_score.gather(1, by_level)[:, : max(keep, default=0)]
    short = torch.arange(order.shape[1], device=order.device) >= torch.tensor(keep, device=order.device)[:, None]
    made = Picks(
        order.masked_fill(short, -1),
        gain.gather(1, order).masked_fill(short, torch.nan),
        score.gather(1, order).masked_fill(short, torch.nan),
    )
    check_picks(made, problem, keep)
    return made


def allowed(available: Tensor, required: Tensor) -> Tensor:
    """(B, N) bool: the required tokens that are left, in groups that have some; else all that are left."""
    first = available & required
    return torch.where(first.any(1, keepdim=True), first, available)


def check_keep(tokens: VisualTokens, keep: Sequence[int]) -> None:
    """Refuse counts that the tokens cannot meet.

    Raises:
        BudgetError: more than the valid tokens, fewer than the required ones, or negative.
    """
    valid = tokens.valid.sum(1).tolist()
    required = (tokens.required & tokens.valid).sum(1).tolist()
    if len(keep) != len(valid):
        raise BudgetError(f"{len(keep)} counts were given for {len(valid)} groups")
    for group, (count, most, least) in enumerate(zip(keep, valid, required, strict=True)):
        if not 0 <= count <= most:
            raise BudgetError(f"{tokens.name_of(group)}: cannot keep {count} of {most} tokens that may be kept")
        if count < least:
            raise BudgetError(
                f"{tokens.name_of(group)}: {least} tokens must be kept, more than the {count} of the budget; "
                f"raise the budget or relax the constraints"
            )


def check_table(made: object, what: str, keep: Sequence[int]) -> None:
    """Refuse what is no `Picks` of the right shape.

    Raises:
        PluginOutputError: says what was returned.
    """
    if not isinstance(made, Picks):
        raise PluginOutputError(f"{what} returned {type(made).__name__}; expected scope_core.Picks")
    for column in ("picks", "gains", "scores"):
        value = getattr(made, column)
        shaped = isinstance(value, Tensor) and value.dim() == 2 and len(value) == len(keep)
        if not shaped or value.shape != made.picks.shape:
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PluginOutputError(
                f"{what} returned {column} of shape {given}; expected (B, K) = {(len(keep), max(keep, default=0))}"
            )


def check_picks(made: Picks, problem: Problem, keep: Sequence[int]) -> None:
    """Refuse picks whose score was no finite number: some part returned NaN or infinity."""
    if all_finite(made.scores):
        return
    bad = ~torch.isfinite(made.scores) & (made.picks >= 0)
    if bool(bad.any()):
        group, step = (int(i) for i in bad.nonzero()[0])
        raise PluginOutputError(
            f"pick {step} of {problem.tokens.name_of(group)} has score {float(made.scores[group, step])}: coverage "
            f"{problem.coverage} gave gain {float(made.gains[group, step])} and combiner {problem.combiner} made that "
            f"of it; check the saliency's sign and range"
        )


def _stack(column: list[Tensor], tokens: VisualTokens, dtype: torch.dtype | None = None) -> Tensor:
    if column:
        return torch.stack(column, 1)
    return tokens.features.new_zeros((tokens.shape[0], 0), dtype=dtype or tokens.features.dtype)

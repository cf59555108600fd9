"""The selection engine: parts and tensors in, picks out. Knows no part by name and no model at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scope_core.blockwise import picks_in_blocks
from scope_core.checks import blamed, expect
from scope_core.errors import BudgetError, PluginOutputError, SpecError
from scope_core.interfaces import Combiner, CoverageFunction, Picks, SaliencySource, SimilarityMetric
from scope_core.memory import free_for, is_writable
from scope_core.parts.execution import (
    WAYS,
    Execution,
    Scoring,
    Way,
    matrix_bytes,
    plan_execution,
    reads_similarity,
)
from scope_core.tokens import VisualTokens, all_finite


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
            need = batch * matrix_bytes(*parts[:2], count, itemsize, self.combiner)
            free = free_for(need, allowed, features.device)
        return plan_execution(parts, (count,) * batch, itemsize, ways, allowed, free, features.device)

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

    def picks(self, keep: Sequence[int], ways: Sequence[Way] = WAYS) -> Picks | None:
        """Exact greedy's picks by the kernel or in blocks, as `plan_execution` says; None if the loop is to make them.

        Raises:
            SpecError: the loop is none of ``ways``, and the others cannot serve.
            TooLargeError: there is no room for what has to be made.
        """
        execution, kernel, made = self.execution(ways), self.coverage.kernel, None
        execution.check(self.who)
        if execution.way == "dense" or kernel is None:
            return None
        if (form := self._form()) is not None:
            if execution.way == "blocks" and kernel.picks_in_blocks is not None:
                made = picks_in_blocks(self, kernel.picks_in_blocks, form, keep)
            else:
                similarity = self.similarity
                with blamed(self.coverage, "picks"):
                    made = kernel.picks(self.coverage, similarity, self.tokens, *form, keep)  # type: ignore[arg-type]
                if made is not None:
                    check_table(made, f"coverage {self.coverage}: picks()", keep)
        if made is not None:
            check_picks(made, self, keep)
        elif "dense" not in ways:
            raise SpecError(
                f"{self.who}: {' or '.join(ways)} was asked for, and does not take these numbers: "
                f"path 'loop' says whether a score is undefined; or use path 'auto'"
            )
        return made

    def _form(self) -> tuple[Tensor, Tensor] | None:
        """(B, N) float64 scale and offset of the score; None where it is not of that form."""
        form = None if self.combiner.affine is None else self.combiner.affine(self.saliency)
        if form is None:
            return None
        scale, offset = (column.double().expand(self.tokens.shape[:2]) for column in form)
        if not (all_finite(scale) and all_finite(offset)):  # padding may hold anything
            padding = ~self.tokens.valid
            scale, offset = scale.masked_fill(padding, 0), offset.masked_fill(padding, 0)
            if not (all_finite(scale) and all_finite(offset)):
                return None  # the loop says which score is no number
        return scale, offset

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


def greedy(
    problem: Problem,
    keep: Sequence[int],
    every: int = 1,
    among: Callable[[Tensor], Tensor] | None = None,
    ways: Sequence[Way] = WAYS,
) -> Picks:
    """Exact greedy: pick the highest score, add it, repeat. Ties break to the lowest index.

    Groups of unequal counts run together; required tokens are picked before the others. For a monotone
    submodular coverage used alone the result is within 1 - 1/e of the best set (Nemhauser et al. 1978);
    weighted by saliency there is no such bound.

    Args:
        problem: Tokens and parts.
        keep: How many to pick of each group.
        every: Picks before gains and scores are computed again; more than 1 is an approximation.
        among: Makes of the (B, N) tokens that may be picked next those that are looked at; all if left out.
        ways: How exact picks may be made, with ``every`` and ``among`` left out; the same picks in different time.

    Returns:
        (B, max(keep)) picks with their gains and scores.

    Raises:
        SpecError: none of ``ways`` is there.
        TooLargeError: there is no room for what has to be made.
    """
    moving = problem.combiner.uses_coverage
    gain = problem.tokens.features.new_ones(problem.tokens.shape[:2])
    if every == 1 and among is None:
        made = problem.picks(keep, ways)
        if made is not None:
            return made
        if not moving:  # scores never change, so greedy is a ranking
            return rank(problem.score(gain), gain, problem, keep)
    state = problem.start() if moving else None

    def scored() -> tuple[Tensor, Tensor]:
        gains = problem.gain(state) if moving else gain
        return (gains if every == 1 else gains.clone()), problem.score(gains)  # a state may be changed in place

    def add(pick: Tensor) -> None:
        nonlocal state
        state = problem.add(state, pick) if moving else None

    made = take_turns(problem.tokens, keep, scored, add, every, among)
    check_picks(made, problem, keep)
    return made


def take_turns(
    tokens: VisualTokens,
    keep: Sequence[int],
    scored: Callable[[], tuple[Tensor, Tensor]],
    add: Callable[[Tensor], object],
    every: int = 1,
    among: Callable[[Tensor], Tensor] | None = None,
) -> Picks:
    """Rounds of argmax: ties break to the lowest index, and required tokens come before the others.

    Args:
        tokens: The candidates.
        keep: How many to pick of each group.
        scored: Gives (B, N) gains and scores after the picks so far.
        add: Gets (B,) each pick; of groups that are full an arbitrary index.
        every: Picks before ``scored`` is asked again.
        among: As for `greedy`.
    """
    left = tokens.valid.clone()
    rows = torch.arange(len(left), device=tokens.device)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(max(keep, default=0)):
        if step % every == 0:
            gain, score = scored()
        candidates = allowed(left, tokens.required)
        some = score.masked_fill(~(candidates if among is None else among(candidates)), -torch.inf)
        pick = some.argmax(1)
        columns.append((pick, gain[rows, pick], some[rows, pick]))
        left[rows, pick] = False
        add(pick)
    if not columns:
        empty = tokens.features.new_zeros((tokens.shape[0], 0))
        return Picks(empty.to(torch.int64), empty, empty)
    picks, gains, scores = (torch.stack(column, 1) for column in zip(*columns, strict=True))
    over = torch.arange(len(columns), device=tokens.device) >= torch.tensor(keep, device=tokens.device)[:, None]
    return Picks(picks.masked_fill(over, -1), gains.masked_fill(over, torch.nan), scores.masked_fill(over, torch.nan))


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

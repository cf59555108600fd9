"""Parts that break one promise each, as authors break them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, PlainSerializer

import scope_core as scope
from scope_core import greedy
from scope_core.parts import (
    Budget,
    Combiner,
    ComponentSpec,
    Constraint,
    CoverageFunction,
    Kernel,
    Merger,
    Optimizer,
    Partition,
    Picks,
    PositionPolicy,
    Problem,
    SaliencySource,
    Selector,
    SimilarityMetric,
    Span,
    fill,
)

STORE: dict[str, Any] = {}


class SourceSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.source"] = "acme.source"
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor."""


class Source(SaliencySource[SourceSpec]):
    """Absolute sum; correct."""

    def score(self, tokens: scope.VisualTokens) -> torch.Tensor:
        """(B, N)."""
        return tokens.features.abs().sum(-1) * self.spec.scale


class FrameBefore(Source):
    """Change since the frame before; correct."""

    reach = (1, 0)

    def score(self, tokens: Any) -> Any:
        """(B, N)."""
        own, before = tokens.frames()[..., None], tokens.frames()[:, None] + 1
        there = ((own == before) & (tokens.valid[..., None] & tokens.valid[:, None])).to(tokens.features)
        means = there @ tokens.features / there.sum(2, keepdim=True).clamp(min=1)
        return (tokens.features - means).abs().sum(-1)


class ReadsFurther(FrameBefore):
    """The frame before is said to be read, and the whole video is."""

    def score(self, tokens: Any) -> Any:
        return super().score(tokens) + Source.score(self, tokens).amax(1, keepdim=True)


class ReadsAhead(FrameBefore):
    """No frame is said to be read."""

    reach = (0, 0)


class WrongShape(Source):
    """One more axis."""

    def score(self, tokens: Any) -> Any:
        return tokens.features.abs()


class NotATensor(Source):
    """A list."""

    def score(self, tokens: Any) -> Any:
        return tokens.features.abs().sum(-1).tolist()


class WrongDtype(Source):
    """Whole numbers."""

    def score(self, tokens: Any) -> Any:
        return tokens.features.abs().sum(-1).long()


class WrongDevice(Source):
    """Left elsewhere."""

    def score(self, tokens: Any) -> Any:
        return super().score(tokens).to("meta")


class NotANumber(Source):
    """0 / 0 for a zero vector."""

    def score(self, tokens: Any) -> Any:
        norm = tokens.features.norm(dim=-1)
        return norm / norm


class SingleOnly(Source):
    """Written for double precision only."""

    def score(self, tokens: Any) -> Any:
        return (tokens.features.abs() @ torch.ones(tokens.features.shape[2], 1, dtype=torch.float64))[..., 0]


class ChangesFeatures(Source):
    """In place."""

    def score(self, tokens: Any) -> Any:
        return tokens.features.abs_().sum(-1)


class ChangesASignal(Source):
    """In place."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"vision.cls_attention[-2]"})

    def score(self, tokens: Any) -> Any:
        return tokens.signal("vision.cls_attention[-2]").mul_(2).sum(1)


class Leaks(Source):
    """Turns gradients on."""

    def score(self, tokens: Any) -> Any:
        with torch.enable_grad():
            return super().score(tokens)


class LeavesGradientsOff(Source):
    """Turns gradients off for everybody."""

    def score(self, tokens: Any) -> Any:
        torch.set_grad_enabled(False)
        return super().score(tokens)


class Draws(Source):
    """From the global generator."""

    def score(self, tokens: Any) -> Any:
        return torch.rand(tokens.shape[:2])


class Clock(Source):
    """From the time of day."""

    def score(self, tokens: Any) -> Any:
        return super().score(tokens) + time.perf_counter_ns() % 1000


class KeepsState(Source):
    """On itself."""

    def score(self, tokens: Any) -> Any:
        self.last = super().score(tokens)
        return self.last


class KeepsClassState(Source):
    """On its class."""

    calls: list[int] = []  # noqa: RUF012

    def score(self, tokens: Any) -> Any:
        self.calls.append(len(tokens.features))
        return super().score(tokens)


class Averages(Source):
    """Relative to the mean of all earlier calls, kept elsewhere."""

    def score(self, tokens: Any) -> Any:
        score = super().score(tokens)
        STORE["mean"] = (STORE.get("mean", 0.0) + float(score.mean())) / 2
        return score + STORE["mean"]


class NotReentrant(Source):
    """A scratch value that is put away again."""

    def score(self, tokens: Any) -> Any:
        STORE["tokens"] = tokens
        norm = STORE["tokens"].features.abs()
        made = norm.sum(-1) + 0 * STORE["tokens"].features.shape[1]
        made = made / STORE["tokens"].features.shape[1]
        STORE.pop("tokens", None)
        return made


class Locked(Source):
    """Correct: shared scratch behind a lock."""

    lock = threading.Lock()

    def score(self, tokens: Any) -> Any:
        """(B, N)."""
        with self.lock:
            made = super().score(tokens)
            return made + 0


class Positional(Source):
    """By index."""

    def score(self, tokens: Any) -> Any:
        return super().score(tokens) + torch.arange(tokens.shape[1]) * 0.1


class Padded(Source):
    """A maximum over padding too."""

    def score(self, tokens: Any) -> Any:
        score = super().score(tokens)
        return score / score.amax(1, keepdim=True).clamp(min=1e-9)


class Batched(Source):
    """A mean over the batch."""

    def score(self, tokens: Any) -> Any:
        score = super().score(tokens).masked_fill(~tokens.valid, 0)
        return score + score.sum() / tokens.valid.sum()


class Negative(Source):
    """Below 0, and says it is not."""

    def score(self, tokens: Any) -> Any:
        return tokens.features.sum(-1)


class Raises(Source):
    """Its property does."""

    @property
    def needs(self) -> frozenset[str]:
        raise OSError("disk")


class NeedsText(Source):
    """No frozenset."""

    needs = "vision.keys[-2]"  # type: ignore[assignment]


class Crashes(Source):
    """On a group of one token."""

    def score(self, tokens: Any) -> Any:
        return super().score(tokens) + tokens.features[:, 1, :1] * 0


class Undocumented(Source):
    def score(self, tokens: Any) -> Any:
        return super().score(tokens)


class UndocumentedOptionSpec(SourceSpec):
    """Made for tests."""

    size: int = 1


class LosesSpec(SourceSpec):
    """Made for tests."""

    scale: Annotated[float, PlainSerializer(lambda value: 1.0)] = 1.0
    """Factor."""


class DriftsSpec(SourceSpec):
    """Made for tests."""

    scale: Annotated[float, BeforeValidator(lambda value: value * 2)] = 1.0
    """Factor."""


class UnhashableSpec(SourceSpec):
    """Made for tests."""

    names: list[str] = Field([])
    """Names."""


class SchemalessSpec(SourceSpec):
    """Made for tests."""

    many: Annotated[float, PlainSerializer(lambda value: str(value), return_type=str)] = 1.0
    """A number that is written as text."""


class MetricSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.metric"] = "acme.metric"


class Metric(SimilarityMetric[MetricSpec]):
    """Correct."""

    bounds = (-1.0, 1.0)

    def pairwise(self, tokens: scope.VisualTokens) -> torch.Tensor:
        """(B, N, N)."""
        unit = tokens.unit()
        return unit @ unit.mT


class OneSided(Metric):
    """Not symmetric."""

    def pairwise(self, tokens: Any) -> Any:
        return (super().pairwise(tokens) * tokens.features.norm(dim=-1, keepdim=True)).tanh()


class Rounded(Metric):
    """Symmetric up to rounding."""

    mirrored = True

    def pairwise(self, tokens: Any) -> Any:
        order = torch.arange(tokens.shape[1], dtype=tokens.features.dtype)
        return super().pairwise(tokens) * (1 + 1e-6 * order[:, None])


class Unbounded(Metric):
    """A dot product."""

    def pairwise(self, tokens: Any) -> Any:
        return tokens.features @ tokens.features.mT


class OtherVectors(Metric):
    """Not scaled to length 1, as the similarity is."""

    def vectors(self, tokens: Any) -> Any:
        return tokens.features


class CoverSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.cover"] = "acme.cover"


class Cover(CoverageFunction[CoverSpec]):
    """Facility location; correct."""

    monotone = True
    submodular = True

    def start(self, similarity: torch.Tensor, tokens: scope.VisualTokens) -> Any:
        """Nothing is covered."""
        return similarity.clamp(min=0), similarity.new_zeros(similarity.shape[:2])

    def gain(self, state: Any) -> torch.Tensor:
        """(B, N)."""
        return (state[0] - state[1][:, :, None]).clamp(min=0).sum(1)

    def add(self, state: Any, pick: torch.Tensor) -> Any:
        """Covered at least as well."""
        return state[0], state[1].maximum(state[0][torch.arange(len(pick)), :, pick])


class NotMonotone(Cover):
    """Penalised by what is covered."""

    def gain(self, state: Any) -> Any:
        return super().gain(state) - state[1].sum(1, keepdim=True)


class NotSubmodular(Cover):
    """Squares of what is covered: the more, the merrier."""

    def start(self, similarity: Any, tokens: Any) -> Any:
        return similarity.clamp(min=0), similarity.new_zeros(similarity.shape[:2])

    def gain(self, state: Any) -> Any:
        return (state[0] + state[1][:, :, None]).square().sum(1) - state[1].square().sum(1, keepdim=True)

    def add(self, state: Any, pick: Any) -> Any:
        return state[0], state[1] + state[0][torch.arange(len(pick)), :, pick]


class GainWithoutAdd(Cover):
    """`add` forgets half of what the pick covers."""

    def add(self, state: Any, pick: Any) -> Any:
        return state[0], state[1].maximum(state[0][torch.arange(len(pick)), :, pick] / 2)


class LastOnly(Cover):
    """Only the last pick counts."""

    def add(self, state: Any, pick: Any) -> Any:
        return state[0], state[0][torch.arange(len(pick)), :, pick]


class CountsQuestions(Cover):
    """`gain` wears the state out."""

    def gain(self, state: Any) -> Any:
        state[1].add_(0.01)
        return super().gain(state)


class ChangesSimilarity(Cover):
    """In place."""

    def start(self, similarity: Any, tokens: Any) -> Any:
        return super().start(similarity.fill_diagonal_(1) if similarity.dim() == 2 else similarity.mul_(0.5), tokens)


class ByScale(Kernel):
    """Does something else than the loop."""

    def picks(self, coverage: Any, similarity: Any, tokens: Any, scale: Any, offset: Any, keep: Any) -> Any:
        order = scale.masked_fill(~tokens.valid, -1).sort(1).indices[:, : max(keep)]
        return Picks(order, order * 0.0, order * 0.0)


class OtherPicks(Cover):
    """Its kernel does something else than the loop."""

    kernel = ByScale()


class Once(Kernel):
    """`picks_in_blocks` takes the highest gains of the empty set."""

    def picks(self, *given: Any) -> Any:
        """Left to the loop."""

    def picks_in_blocks(self, coverage: Any, blocks: Any, tokens: Any, scale: Any, offset: Any, keep: int) -> Any:
        gain = blocks.own.new_zeros(blocks.own.shape)
        for rows, columns, block in blocks.triangle():
            gain[columns] += block.clamp(min=0).sum(0)
            if rows != columns:
                gain[rows] += block.clamp(min=0).sum(1)
        score = (gain * scale[0] + offset[0]).masked_fill(~tokens.valid[0], -torch.inf)
        order = score.masked_fill(tokens.required[0], torch.inf).sort(descending=True, stable=True).indices[None, :keep]
        return Picks(order, order * 0.0, order * 0.0)


class RanksInBlocks(Cover):
    """Its kernel takes the highest gains of the empty set."""

    kernel = Once()


class MixSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.mix"] = "acme.mix"


class Mix(Combiner[MixSpec]):
    """Correct."""

    def combine(self, gain: torch.Tensor, saliency: torch.Tensor) -> torch.Tensor:
        """(B, N)."""
        return gain * saliency


class SaysUnused(Mix):
    """Uses the saliency all the same."""

    uses_saliency = False


class WrongAffine(Mix):
    """The offset is missing."""

    def affine(self, saliency: Any) -> Any:
        return saliency + 1, saliency * 0


class ChangesSaliency(Mix):
    """In place."""

    def prepare(self, saliency: Any, tokens: Any) -> Any:
        return saliency.pow_(2)


class BestSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.best"] = "acme.best"


class Best(Optimizer[BestSpec]):
    """Greedy; correct."""

    exact = True

    def optimize(self, problem: Problem, keep: Any) -> Picks:
        """Picks."""
        return greedy(problem, keep)


class Repeats(Best):
    """The first pick again and again."""

    def optimize(self, problem: Any, keep: Any) -> Any:
        made = super().optimize(problem, keep)
        return replace(made, picks=torch.where(made.picks >= 0, made.picks[:, :1], -1))


class TooFew(Best):
    """The same for every group."""

    def optimize(self, problem: Any, keep: Any) -> Any:
        return super().optimize(problem, [min(keep)] * len(keep)) if max(keep) else super().optimize(problem, keep)


class PicksPadding(Best):
    """Whatever has the highest features."""

    def optimize(self, problem: Any, keep: Any) -> Any:
        made = super().optimize(problem, keep)
        order = problem.tokens.features.sum(-1).sort(descending=True).indices[:, : made.picks.shape[1]]
        return replace(made, picks=torch.where(made.picks >= 0, order, -1))


class LosesRequired(Best):
    """Looks at scores alone."""

    exact = False

    def optimize(self, problem: Any, keep: Any) -> Any:
        tokens = replace(problem.tokens, required=torch.zeros_like(problem.tokens.required))
        return super().optimize(replace(problem, tokens=tokens), keep)


class LastOfTies(Best):
    """Ties go to the highest index."""

    def optimize(self, problem: Any, keep: Any) -> Any:
        count = problem.tokens.shape[1]
        turn = torch.arange(count - 1, -1, -1).expand(problem.tokens.shape[0], -1)
        flat = turn + torch.arange(len(turn))[:, None] * count
        made = super().optimize(replace(problem, tokens=problem.tokens.regroup(flat)), keep)
        return replace(made, picks=torch.where(made.picks >= 0, count - 1 - made.picks, -1))


class ChooseSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.choose"] = "acme.choose"


class Choose(Selector[ChooseSpec]):
    """The longest vectors; correct."""

    def select(self, tokens: scope.VisualTokens, keep: Any) -> scope.Selection:
        """Picks."""
        score = tokens.features.norm(dim=-1).masked_fill(~tokens.valid, -1) + 1e6 * tokens.required * tokens.valid
        order = score.sort(dim=1, descending=True, stable=True).indices[:, : max(keep, default=0)]
        short = torch.arange(order.shape[1]) >= torch.tensor(keep)[:, None]
        gains = score.gather(1, order).masked_fill(short, torch.nan)
        return scope.Selection(order.masked_fill(short, -1), gains, gains, tokens)


class OddReach(Choose):
    """A number of frames instead of two."""

    reach: Any = 1


class NoCopies(Choose):
    """Less than none."""

    copies = -1


class AllFrames(Choose):
    """The longest vectors of all frames, while it says that frames stand alone."""

    reach = (0, 0)


class ForgetsTokens(Choose):
    """Other tokens than it was given."""

    def select(self, tokens: Any, keep: Any) -> Any:
        return replace(super().select(tokens, keep), tokens=tokens.to_dtype(torch.float32))


class WrongHomes(Choose):
    """Says that everything went to token 0."""

    def select(self, tokens: Any, keep: Any) -> Any:
        return replace(super().select(tokens, keep), assigned=torch.zeros_like(tokens.row))


class FewSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.few"] = "acme.few"


class Few(Budget[FewSpec]):
    """Half of every image, exactly; correct."""

    additive = True

    def plan(self, layout: scope.Layout, groups: Any) -> tuple[int, ...]:
        """Counts."""
        return fill(layout, groups, "image", [image.tokens // 2 for image in layout.images if image.tokens])


class WrongSum(Few):
    """Rounded for every group."""

    def plan(self, layout: Any, groups: Any) -> Any:
        return tuple(sum(span.tokens for span in group) // 2 for group in groups)


class NotWhole(Few):
    """Floats."""

    def plan(self, layout: Any, groups: Any) -> Any:
        return tuple(sum(span.tokens for span in group) / 2 for group in groups)


class TooMany(Few):
    """More than there are."""

    def plan(self, layout: Any, groups: Any) -> Any:
        return tuple(sum(span.tokens for span in group) + 1 for group in groups)


class NeverMet(Few):
    """Refuses everything."""

    def plan(self, layout: Any, groups: Any) -> Any:
        raise scope.BudgetError("no")


class Wanders(Few):
    """Another count each time."""

    def plan(self, layout: Any, groups: Any) -> Any:
        STORE["turn"] = not STORE.get("turn", False)
        return tuple(int(STORE["turn"]) for _ in groups)


class CutSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.cut"] = "acme.cut"


class Cut(Partition[CutSpec]):
    """By image; correct."""

    def split(self, layout: scope.Layout) -> Any:
        """Groups."""
        return tuple((Span(number, 0, image.tokens),) for number, image in enumerate(layout.images))


class Promises(Cut):
    """Pieces of half of the tokens are planned, and whole images made."""

    def largest(self, size: int) -> int:
        """Half."""
        return size // 2


class LosesOne(Cut):
    """The last token."""

    def split(self, layout: Any) -> Any:
        return tuple((Span(n, 0, max(0, image.tokens - 1)),) for n, image in enumerate(layout.images))


class MustSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.must"] = "acme.must"


class Must(Constraint[MustSpec]):
    """The first row; correct."""

    def must_keep(self, tokens: scope.VisualTokens) -> torch.Tensor:
        """(B, N)."""
        return tokens.row == 0


class NoMask(Must):
    """Numbers."""

    def must_keep(self, tokens: Any) -> Any:
        return (tokens.row == 0).float()


class ByIndex(Must):
    """The first tokens, whichever they are."""

    def must_keep(self, tokens: Any) -> Any:
        return (torch.arange(tokens.shape[1]) < 2).expand(tokens.shape[:2])


class MergeSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.merge"] = "acme.merge"


class Merge(Merger[MergeSpec]):
    """Kept rows as they are, and the mean of all behind them; correct."""

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """One."""
        return 0, 1

    def weights(self, selection: scope.Selection) -> Any:
        """(B, K + 1, N)."""
        tokens, order = selection.tokens, selection.arranged
        rows = tokens.features.new_zeros(*order.shape, tokens.shape[1])
        rows = rows.scatter(2, order.clamp(min=0)[..., None], (order >= 0).to(rows)[..., None])
        mean = tokens.valid / tokens.valid.sum(1, keepdim=True).clamp(min=1)
        return torch.cat([rows, mean[:, None].to(rows)], 1)


class NoExtraRow(Merge):
    """Promises a row and gives none."""

    def weights(self, selection: Any) -> Any:
        return super().weights(selection)[:, :-1]


class MixesPadding(Merge):
    """The mean of padding too."""

    def weights(self, selection: Any) -> Any:
        made = super().weights(selection)
        made[:, -1] = 1 / made.shape[2]
        return made


class NoSignal(Merge):
    """Uses CLS and does not say where it is from."""

    @property
    def uses_cls(self) -> bool:
        return True

    def weights(self, selection: Any) -> Any:
        return torch.nn.functional.pad(super().weights(selection), (0, 1))


class SaysNone(Merge):
    """Merges, and says that it does not."""

    mixes = False


class Changing(Merge):
    """Another number of rows each time."""

    def extra(self, tokens: int, rows: int) -> Any:
        STORE["rows"] = STORE.get("rows", 0) + 1
        return 0, STORE["rows"] % 2

    def weights(self, selection: Any) -> Any:
        return None


class PlaceSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.place"] = "acme.place"


class Place(PositionPolicy[PlaceSpec]):
    """Numbers from 0; correct."""

    def position_ids(self, full: torch.Tensor, index: torch.Tensor, kept: torch.Tensor) -> Any:
        """(B, L')."""
        return torch.arange(index.shape[1]).expand(index.shape).clone()


class Gaps(Place):
    """Original positions without saying so."""

    def position_ids(self, full: Any, index: Any, kept: Any) -> Any:
        return full.gather(1, index)


class Shifted(Place):
    """From 1."""

    def position_ids(self, full: Any, index: Any, kept: Any) -> Any:
        return super().position_ids(full, index, kept) + 1


class FloatPlaces(Place):
    """Not whole."""

    def position_ids(self, full: Any, index: Any, kept: Any) -> Any:
        return super().position_ids(full, index, kept).float()


CORRECT = [Source, FrameBefore, Locked, Metric, Cover, Mix, Best, Choose, Few, Cut, Must, Merge, Place]

BROKEN: list[tuple[type, str]] = [
    (WrongShape, "outputs_have_the_promised_form"),
    (NotATensor, "outputs_have_the_promised_form"),
    (WrongDtype, "outputs_have_the_promised_form"),
    (WrongDevice, "outputs_have_the_promised_form"),
    (Crashes, "outputs_have_the_promised_form"),
    (NotANumber, "finite_inputs_give_finite_outputs"),
    (SingleOnly, "works_in_lower_precision"),
    (ChangesFeatures, "inputs_are_not_changed"),
    (ChangesASignal, "inputs_are_not_changed"),
    (Leaks, "gradient_mode_is_respected"),
    (LeavesGradientsOff, "gradient_mode_is_respected"),
    (Draws, "two_runs_are_equal"),
    (Clock, "two_runs_are_equal"),
    (KeepsState, "calls_leave_no_state"),
    (KeepsClassState, "calls_leave_no_state"),
    (Averages, "calls_leave_no_state"),
    (NotReentrant, "threads_do_not_interfere"),
    (Positional, "outputs_follow_the_token_order"),
    (Padded, "padding_changes_nothing"),
    (Batched, "groups_do_not_affect_each_other"),
    (Negative, "scores_are_never_negative"),
    (Raises, "attributes_can_be_read"),
    (NeedsText, "attributes_can_be_read"),
    (Undocumented, "every_option_is_documented"),
    (OneSided, "similarity_is_symmetric"),
    (Rounded, "rows_are_columns"),
    (Unbounded, "values_stay_within_bounds"),
    (NotMonotone, "gains_are_never_negative"),
    (NotSubmodular, "gains_never_grow"),
    (GainWithoutAdd, "gains_belong_to_one_set_function"),
    (LastOnly, "gains_belong_to_one_set_function"),
    (CountsQuestions, "start_is_the_empty_set"),
    (ChangesSimilarity, "inputs_are_not_changed"),
    (OtherPicks, "kernel_picks_match_the_loop"),
    (OtherVectors, "vectors_match_pairwise"),
    (RanksInBlocks, "block_picks_match_the_loop"),
    (SaysUnused, "unused_inputs_change_nothing"),
    (WrongAffine, "affine_matches_combine"),
    (ChangesSaliency, "inputs_are_not_changed"),
    (Repeats, "counts_are_met_exactly"),
    (TooFew, "counts_are_met_exactly"),
    (PicksPadding, "only_candidates_are_picked"),
    (LosesRequired, "required_tokens_are_kept"),
    (LastOfTies, "picks_are_those_of_exact_greedy"),
    (ForgetsTokens, "selection_describes_its_picks"),
    (WrongHomes, "selection_describes_its_picks"),
    (WrongSum, "regrouping_keeps_the_total"),
    (NotWhole, "outputs_have_the_promised_form"),
    (TooMany, "outputs_have_the_promised_form"),
    (NeverMet, "some_images_meet_the_budget"),
    (Wanders, "layout_alone_decides"),
    (LosesOne, "every_token_is_in_one_group"),
    (NoMask, "outputs_have_the_promised_form"),
    (ByIndex, "outputs_follow_the_token_order"),
    (NoExtraRow, "outputs_have_the_promised_form"),
    (MixesPadding, "weights_fill_the_promised_rows"),
    (NoSignal, "extra_rows_are_declared_consistently"),
    (SaysNone, "weights_fill_the_promised_rows"),
    (Changing, "extra_rows_are_declared_consistently"),
    (Gaps, "positions_rise_without_gaps"),
    (OddReach, "attributes_can_be_read"),
    (NoCopies, "attributes_can_be_read"),
    (ReadsFurther, "frames_outside_reach_change_nothing"),
    (ReadsAhead, "frames_outside_reach_change_nothing"),
    (AllFrames, "frames_outside_reach_change_nothing"),
    (Promises, "pieces_are_no_larger_than_planned"),
    (Shifted, "full_prompts_keep_their_positions"),
    (FloatPlaces, "outputs_have_the_promised_form"),
]

BROKEN_SPECS: list[tuple[type, str]] = [
    (UndocumentedOptionSpec, "every_option_is_documented"),
    (LosesSpec, "spec_survives_json_and_yaml"),
    (DriftsSpec, "spec_survives_json_and_yaml"),
    (UnhashableSpec, "spec_survives_json_and_yaml"),
    (SchemalessSpec, "schema_accepts_its_specs"),
]

"""The result of ``scope compare`` as data. These classes are the schema of ``--json``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

import scope_core

if TYPE_CHECKING:
    from scope_core import Registry
    from scope_core.cli.methods import Method as Entered
    from scope_core.cli.methods import Methods
    from scope_core.cli.selections import Judge, Kept, Selected, Shown
    from scope_core.commands import Picture


class Data(BaseModel):
    """Base of the tables below."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Spread(Data):
    """A number over the photographs."""

    mean: float
    """Mean over the photographs."""
    std: float | None
    """Sample standard deviation over the photographs; null for one photograph."""
    min: float
    """Smallest value."""
    max: float
    """Largest value."""


class Method(Data):
    """One spec that ran, over all photographs."""

    label: str
    """What tables and the lists below call it."""
    given: str
    """The spec as it was written."""
    spec: dict[str, Any]
    """Its long form: every part and every option, as it ran."""
    at: str
    """Interception point where its tokens were taken."""
    needs: list[str]
    """Signals that it read."""
    kept: Spread
    """Tokens kept of a photograph."""
    rows: Spread
    """Tokens that a language model would get of it: the kept ones, and those that a merger adds."""
    theta_coverage: dict[str, Spread]
    """For each theta: share of all tokens whose best cosine to a kept token is theta or more, in [0, 1]."""
    saliency_share: Spread | None
    """Share of the stated saliency that the kept tokens hold, in [0, 1]; null where it cannot be measured."""
    select_ms: Spread
    """Wall time of selecting from one photograph's tokens, in milliseconds; tower and signals are not in it."""
    notes: list[str]
    """What a reader of these numbers has to know."""


class NotRun(Data):
    """One spec that did not run."""

    label: str
    """What tables call it."""
    given: str
    """The spec as it was written."""
    reason: str
    """Why, in words."""
    signals: list[str]
    """Signals that it needs and the tower does not have."""


class Row(Data):
    """What one method kept of one photograph."""

    label: str
    """The method's label."""
    kept_count: int
    """Tokens kept."""
    rows: int
    """Tokens that a language model would get."""
    kept: list[int]
    """Kept tokens in raster order, counted from 0."""
    picks: list[int]
    """The same in the order they were picked."""
    theta_coverage: dict[str, float]
    """As above, of this photograph."""
    saliency_share: float | None
    """As above, of this photograph."""
    select_ms: float
    """Median wall time of the selection, in milliseconds."""


class Photograph(Data):
    """One photograph."""

    image: str
    """As it was named on the command line."""
    width: int
    """In pixels, as it was given."""
    height: int
    """Likewise."""
    tokens: int
    """Visual tokens before pruning."""
    grid: list[int] | None
    """Rows and columns of the tokens; null where they lie on no grid."""
    methods: list[Row]
    """In the order of `methods` above."""
    overlap: list[list[float | None]]
    """Jaccard index of the kept tokens of each two methods; null where their tokens are not the same."""


class Timing(Data):
    """How selection was timed."""

    statistic: Literal["median"] = "median"
    """What is reported of the runs."""
    repeats: int
    """Runs of each selection on each photograph at most, after one that is not timed; none is begun after a second."""
    processes: Literal[1] = 1
    """Everything runs in one process."""
    threads: int
    """Threads that torch may use."""
    device: str
    """Where the tokens were."""


class Comparison(Data):
    """What ``scope compare --json`` prints."""

    format: Literal["scope-core/compare/1"] = "scope-core/compare/1"
    """Name and version of this format; a change that breaks readers changes the number."""
    scope_core: str
    """Version of scope-core."""
    tower: str
    """Name of the zoo tower."""
    judged_at: str
    """Interception point on whose features theta-coverage is measured, for all methods alike."""
    saliency: str | None
    """The saliency source whose share is measured."""
    thetas: list[float]
    """Thresholds of theta-coverage, rising."""
    timing: Timing
    """How selection was timed."""
    methods: list[Method]
    """In the order given."""
    not_run: list[NotRun]
    """Specs that did not run, and why."""
    overlap: list[list[Spread | None]]
    """Jaccard index of each two methods, over the photographs."""
    photographs: list[Photograph]
    """In the order given, with what each method kept."""
    notes: list[str]
    """What a reader of all these numbers has to know."""
    out: list[str]
    """Files that were written."""


def spread(values: Iterable[float]) -> Spread:
    """Mean, sample standard deviation, smallest and largest."""
    known = list(values)
    std = statistics.stdev(known) if len(known) > 1 else None
    return Spread(mean=statistics.fmean(known), std=std, min=min(known), max=max(known))


def comparison(
    tower: str,
    selected: Selected,
    asked: Methods,
    pictures: Sequence[Picture],
    *,
    registry: Registry,
    out: Sequence[str] = (),
) -> Comparison:
    """Everything that was measured, and its means over the photographs."""
    import torch

    run, judge, shown = selected.methods, selected.judge, selected.images
    pairs = [[[one.overlap(a, b) for one in shown] for b in range(len(run))] for a in range(len(run))]
    return Comparison(
        scope_core=scope_core.__version__,
        tower=tower,
        judged_at=judge.at,
        saliency=None if judge.source is None else judge.source.spec.name,
        thetas=list(judge.thetas),
        timing=Timing(repeats=judge.repeats, threads=torch.get_num_threads(), device=shown[0].device),
        methods=[_method(selected, number, registry) for number in range(len(run))],
        not_run=[
            NotRun(label=one.method.label, given=one.method.given, reason=one.reason, signals=list(one.signals))
            for one in asked.left_out
        ],
        overlap=[[_known_spread(pair) for pair in row] for row in pairs],
        photographs=[
            _photograph(picture, one, [method.label for method in run], judge)
            for picture, one in zip(pictures, shown, strict=True)
        ],
        notes=[*asked.notes, *_notes(judge, [row for one in shown for row in one.kept], run)],
        out=list(out),
    )


def _method(selected: Selected, number: int, registry: Registry) -> Method:
    one, thetas = selected.methods[number], selected.judge.thetas
    kept = [image.kept[number] for image in selected.images]
    return Method(
        label=one.label,
        given=one.given,
        spec=one.pruner.spec.to_dict(registry),
        at=one.at,
        needs=sorted(one.pruner.needs),
        kept=spread(len(row.picks) for row in kept),
        rows=spread(row.rows for row in kept),
        theta_coverage={f"{theta:g}": spread(row.coverage[n] for row in kept) for n, theta in enumerate(thetas)},
        saliency_share=_known_spread([row.share for row in kept]),
        select_ms=spread(row.ms for row in kept),
        notes=selected.notes[number],
    )


def _known_spread(values: Sequence[float | None]) -> Spread | None:
    """The spread; None unless every photograph has the number: a mean over some of them would be of other things."""
    known = [value for value in values if value is not None]
    return spread(known) if len(known) == len(values) else None


def _photograph(picture: Picture, shown: Shown, labels: Sequence[str], judge: Judge) -> Photograph:
    return Photograph(
        image=picture.name,
        width=picture.image.width,
        height=picture.image.height,
        tokens=shown.tokens,
        grid=None if shown.grid is None else list(shown.grid),
        methods=[_row(label, kept, judge) for label, kept in zip(labels, shown.kept, strict=True)],
        overlap=[[shown.overlap(a, b) for b in range(len(labels))] for a in range(len(labels))],
    )


def _row(label: str, kept: Kept, judge: Judge) -> Row:
    return Row(
        label=label,
        kept_count=len(kept.picks),
        rows=kept.rows,
        kept=sorted(kept.picks),
        picks=list(kept.picks),
        theta_coverage={f"{theta:g}": share for theta, share in zip(judge.thetas, kept.coverage, strict=True)},
        saliency_share=kept.share,
        select_ms=kept.ms,
    )


def _notes(judge: Judge, kept: Sequence[Kept], run: Sequence[Entered]) -> list[str]:
    notes = []
    if len({row.rows for row in kept}) > 1:
        notes.append("the methods do not all keep the same number of tokens; --keep K sets one budget for all")
    odd = sorted({one.at for one in run if one.at != judge.at})
    if odd:
        notes.append(f"some tokens are taken at {', '.join(odd)}; coverage is measured at '{judge.at}' all the same")
    return notes

"""The result of ``scope compare`` as data. These classes are the schema of ``--json``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

import scope_core
from scope_core.cli.clips import Clip, frame_counts

if TYPE_CHECKING:
    from scope_core import Registry
    from scope_core.cli.methods import Method as Entered
    from scope_core.cli.methods import Methods
    from scope_core.cli.selections import Judge, Kept, Selected, Shown
    from scope_core.commands import Picture


class Data(BaseModel):
    """Base of the classes below."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Spread(Data):
    """A number over the images."""

    mean: float
    """Mean over the images."""
    std: float | None
    """Sample standard deviation over the images; null for one image."""
    min: float
    """Smallest value."""
    max: float
    """Largest value."""


class Method(Data):
    """One spec that ran, over all images."""

    label: str
    """Its name in tables and in the lists below."""
    given: str
    """The spec as it was written."""
    spec: dict[str, Any]
    """Its long form: every part and every option, as it ran."""
    at: str
    """Interception point where its tokens were taken."""
    needs: list[str]
    """Signals that it read."""
    kept: Spread
    """Tokens kept of an image."""
    rows: Spread
    """Tokens of an image that a language model would get: the kept ones, and those that a merger adds."""
    theta_coverage: dict[str, Spread]
    """For each theta: share of all tokens whose best cosine to a kept token is theta or more, in [0, 1]."""
    saliency_share: Spread | None
    """Share of the stated saliency that lies on kept tokens, in [0, 1]; null if it cannot be measured."""
    moving: Spread | None = None
    """Of the tokens of videos whose cosine to the token at their place one frame before is below the middle theta: the
    share whose best cosine to a kept token is at least that theta; null for images."""
    select_ms: Spread
    """Wall time of selecting from one image's tokens, in milliseconds, without tower and signals."""
    notes: list[str]
    """Notes on these numbers."""


class NotRun(Data):
    """One spec that did not run."""

    label: str
    """Its name in tables."""
    given: str
    """The spec as it was written."""
    reason: str
    """The reason why it did not run."""
    signals: list[str]
    """Signals that it needs but the tower does not have."""


class Row(Data):
    """The selection of one method on one image."""

    label: str
    """The method's label."""
    kept_count: int
    """Tokens kept."""
    rows: int
    """Tokens that a language model would get."""
    kept: list[int]
    """Kept tokens in raster order, counted from 0."""
    picks: list[int]
    """Kept tokens in the order they were picked."""
    theta_coverage: dict[str, float]
    """As above, for this image."""
    saliency_share: float | None
    """As above, for this image."""
    moving: float | None = None
    """As above, for this video."""
    select_ms: float
    """Median wall time of the selection, in milliseconds."""
    per_frame: list[int] | None = None
    """Tokens kept of each frame; null for an image."""


class Photograph(Data):
    """One image or video."""

    image: str
    """Its name on the command line."""
    width: int
    """Width of the given image in pixels."""
    height: int
    """Height of the given image in pixels."""
    tokens: int
    """Visual tokens before pruning."""
    grid: list[int] | None
    """Rows and columns of the tokens; null for tokens without a grid, and for a video."""
    times: list[float] | None = None
    """Seconds from the start of a video at which each frame was taken; null for an image."""
    methods: list[Row]
    """In the order of `methods` above."""
    overlap: list[list[float | None]]
    """Jaccard index of the kept tokens of each two methods; null if they selected from different tokens."""


class Timing(Data):
    """Settings of the timing of selections."""

    statistic: Literal["median"] = "median"
    """The reported statistic of the runs."""
    repeats: int
    """Largest number of runs of each selection on each image, after an untimed one; no run begins after a second."""
    processes: Literal[1] = 1
    """Number of processes."""
    threads: int
    """Threads that torch may use."""
    device: str
    """Device of the tokens."""


class Comparison(Data):
    """The output of ``scope compare --json``."""

    format: Literal["scope-core/compare/1"] = "scope-core/compare/1"
    """Name and version of this format; an incompatible change increases the number."""
    scope_core: str
    """Version of scope-core."""
    tower: str
    """Name of the zoo tower."""
    judged_at: str
    """Interception point on whose features theta-coverage is measured, the same for all methods."""
    saliency: str | None
    """The saliency source whose share is measured."""
    thetas: list[float]
    """Thresholds of theta-coverage, rising."""
    timing: Timing
    """Settings of the timing of selections."""
    methods: list[Method]
    """In the order given."""
    not_run: list[NotRun]
    """Specs that did not run, and why."""
    overlap: list[list[Spread | None]]
    """Jaccard index of each two methods, over the images."""
    photographs: list[Photograph]
    """The images in the order given, with the selection of each method."""
    notes: list[str]
    """Notes on all numbers."""
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
    """The whole result: numbers for each image, and their means over the images."""
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
        moving=_known_spread([row.moving for row in kept]),
        select_ms=spread(row.ms for row in kept),
        notes=selected.notes[number],
    )


def _known_spread(values: Sequence[float | None]) -> Spread | None:
    """The spread; None unless every image has the number, since means over different images are not comparable."""
    known = [value for value in values if value is not None]
    return spread(known) if len(known) == len(values) else None


def _photograph(picture: Picture, shown: Shown, labels: Sequence[str], judge: Judge) -> Photograph:
    return Photograph(
        image=picture.name,
        width=picture.image.width,
        height=picture.image.height,
        tokens=shown.tokens,
        grid=None if shown.grid is None else list(shown.grid),
        times=list(picture.image.times) if isinstance(picture.image, Clip) else None,
        methods=[_row(label, kept, judge, picture.image) for label, kept in zip(labels, shown.kept, strict=True)],
        overlap=[[shown.overlap(a, b) for b in range(len(labels))] for a in range(len(labels))],
    )


def _row(label: str, kept: Kept, judge: Judge, image: Any) -> Row:
    return Row(
        label=label,
        kept_count=len(kept.picks),
        rows=kept.rows,
        kept=sorted(kept.picks),
        picks=list(kept.picks),
        theta_coverage={f"{theta:g}": share for theta, share in zip(judge.thetas, kept.coverage, strict=True)},
        saliency_share=kept.share,
        moving=kept.moving,
        select_ms=kept.ms,
        per_frame=frame_counts(kept, len(image.frames)) if isinstance(image, Clip) else None,
    )


def _notes(judge: Judge, kept: Sequence[Kept], run: Sequence[Entered]) -> list[str]:
    notes = []
    if len({row.rows for row in kept}) > 1:
        same = len({one.label.rpartition("@")[2] for one in run}) == 1
        why = "the budgets of some keep whole frames or tiles" if same else "--keep K sets one budget for all"
        notes.append(f"the methods do not all keep the same number of tokens; {why}")
    odd = sorted({one.at for one in run if one.at != judge.at})
    if odd:
        notes.append(f"some tokens are taken at {', '.join(odd)}; coverage is measured at '{judge.at}' all the same")
    return notes

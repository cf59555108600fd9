"""Selections of several methods from the same images, measured in the same way: tokens, coverage, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scope_core.cli.moving import changed, covered
from scope_core.structures.places import Places

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.cli.methods import Method
    from scope_core.parts.saliency import SaliencySource
    from scope_core.parts.zoo import Tower
    from scope_core.pruning.pruner import Pruner
    from scope_core.structures.places import Cell
    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens


@dataclass(frozen=True)
class Judge:
    """The measurement that all methods share.

    Attributes:
        at: Interception point on whose features coverage is measured.
        thetas: Thresholds of coverage.
        source: Saliency source whose share is measured; None for no share.
        repeats: Maximum number of timed runs of each selection.
    """

    at: str
    thetas: tuple[float, ...]
    source: SaliencySource[Any] | None
    repeats: int = 5

    @property
    def middle(self) -> float:
        """The middle threshold: pictures show coverage at it, and tokens less alike than it have changed."""
        return self.thetas[len(self.thetas) // 2]


@dataclass(frozen=True)
class Kept:
    """The selection of one method from one image; plain data, so that many images fit into memory.

    Attributes:
        tokens: Number of candidates.
        picks: Kept tokens in the order they were picked.
        gains: Gain of each pick.
        scores: Score of each pick.
        stages: Step of the selection, from 0, that made each pick; None if there was one step.
        rows: Number of tokens that a language model would get.
        merged: True if dropped tokens were merged into kept ones.
        places: The places of all candidates on the image.
        cells: The patch of each pick; None for tokens outside the grid.
        merged_cells: The patches that were merged into kept tokens.
        ms: Median wall time of the selection, from all images that were selected together.
        coverage: theta-coverage at each of the judge's thresholds.
        share: Share of the judge's saliency; None if undefined.
        alike: True if its tokens are those at the judge's point. If not, coverage is measured on its own features.
        moving: Share of the tokens that changed from frame to frame that is covered; None where nothing moves.
    """

    tokens: int
    picks: tuple[int, ...]
    gains: tuple[float, ...]
    scores: tuple[float, ...]
    stages: tuple[int, ...] | None
    rows: int
    merged: bool
    places: Places
    cells: tuple[Cell | None, ...]
    merged_cells: tuple[Cell, ...]
    ms: float
    coverage: tuple[float, ...]
    share: float | None
    alike: bool
    moving: float | None = None


@dataclass(frozen=True)
class Shown:
    """One image: its number of tokens at the judge's point, their places and device, and each method's selection."""

    tokens: int
    places: Places
    device: str
    kept: tuple[Kept, ...]

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the tokens; None if they have no places, or are on several tiles."""
        return self.places.extents[0] if len(self.places.extents) == 1 else None

    @property
    def size(self) -> str:
        """The size of the grid, or the number of tiles, for captions."""
        if self.grid is None:
            return f"{len(self.places.extents)} tiles"
        return " x ".join(map(str, self.grid)) + " patches"

    def overlap(self, one: int, other: int) -> float | None:
        """Jaccard index of two methods' kept tokens, 1 if both keep none; None if they have not the same tokens."""
        first, second = self.kept[one], self.kept[other]
        if first.tokens != second.tokens:
            return None
        both, either = {*first.picks} & {*second.picks}, {*first.picks} | {*second.picks}
        return len(both) / len(either) if either else 1.0


class Trial:
    """Images that are selected from together, encoded once for all methods.

    Args:
        tower: Tower that encodes them, once per interception point.
        images: All images of one prompt, or one clip.
        methods: The methods.
        judge: The measurement.
    """

    def __init__(self, tower: Tower, images: Sequence[Any], methods: Sequence[Method], judge: Judge) -> None:
        source = judge.source
        needs = {judge.at: source.all_needs if source else frozenset()}
        for one in methods:
            needs[one.at] = needs.get(one.at, frozenset()) | one.pruner.needs
        self.judge = judge
        self.tokens = {at: tower.encode(images, at=at, needs=signals) for at, signals in needs.items()}

    @cached_property
    def saliency(self) -> Tensor | None:
        """(B, N) scores of the judge's saliency."""
        source = self.judge.source
        return None if source is None else scores_of(source, self.tokens[self.judge.at])

    @cached_property
    def moving(self) -> Tensor | None:
        """(B, N) bool: the tokens that changed from frame to frame; see `changed`."""
        return changed(self.tokens[self.judge.at], self.judge.middle)

    def kept(self, method: Method) -> list[Kept]:
        """A method's selection from each image."""
        selection, ms = timed(method.pruner, self.tokens[method.at], self.judge.repeats)
        found = kept_of(selection, ms, self.tokens[self.judge.at], self.judge.thetas, self.saliency)
        if self.moving is None:
            return found
        shares = covered(selection, self.tokens[self.judge.at], self.moving, self.judge.middle)
        return [replace(one, moving=share) for one, share in zip(found, shares, strict=True)]


def shown_of(tokens: VisualTokens, columns: Sequence[Sequence[Kept]]) -> list[Shown]:
    """The images of ``tokens``, from each method's selections in ``columns``."""
    return [
        Shown(
            int(valid.sum()),
            Places.of(tokens, number),
            str(tokens.device),
            tuple(column[number] for column in columns),
        )
        for number, valid in enumerate(tokens.valid)
    ]


def kept_of(
    selection: Selection, ms: float, judged: VisualTokens, thetas: tuple[float, ...], saliency: Tensor | None
) -> list[Kept]:
    """A selection as plain data, one entry per image.

    Args:
        selection: The selection.
        ms: Its time in milliseconds.
        judged: Tokens on which coverage is measured, if there are equally many.
        thetas: Thresholds of coverage.
        saliency: (B, N) scores of ``judged`` whose share is measured; None for no share.
    """
    alike = bool(selection.tokens.valid.shape == judged.valid.shape)
    seen = replace(selection, tokens=judged) if alike else selection
    coverage = seen.coverage(thetas).tolist()
    shares = seen.share_of(saliency).tolist() if alike and saliency is not None else [None] * len(coverage)
    found, marks = [], selection.marks
    for number, row in enumerate(selection.to_dict()["rows"]):
        picks, places = row["picks"], Places.of(selection.tokens, number)
        merged = marks.patches(number, places).merged
        found.append(
            Kept(
                tokens=row["tokens"],
                picks=tuple(picks),
                gains=tuple(row["gains"]),
                scores=tuple(row["scores"]),
                stages=None if selection.stage is None else tuple(selection.stage[number].tolist()[: len(picks)]),
                rows=selection.row_counts[number],
                merged=selection.mixed is not None,
                places=places,
                cells=tuple(places.cells[pick] for pick in picks),
                merged_cells=tuple(merged),
                ms=ms,
                coverage=tuple(coverage[number]),
                share=shares[number],
                alike=alike,
            )
        )
    return found


@dataclass(frozen=True)
class Selected:
    """Selections of several methods from the same images.

    Attributes:
        methods: The methods.
        judge: The measurement.
        images: Their selections, by image.
    """

    methods: Sequence[Method]
    judge: Judge
    images: Sequence[Shown]

    @cached_property
    def notes(self) -> list[list[str]]:
        """Notes on the numbers of each method."""
        return [self._notes(one, [image.kept[n] for image in self.images]) for n, one in enumerate(self.methods)]

    def _notes(self, method: Method, kept: Sequence[Kept]) -> list[str]:
        notes = []
        if method.moved:
            notes.append(f"tokens taken at '{method.at}', not at '{method.moved}' as the method does")
        if any(one.merged for one in kept):
            notes.append("merges dropped tokens into kept ones; coverage and saliency count the kept ones alone")
        if added := max(one.rows - len(one.picks) for one in kept):
            notes.append(f"adds {added} token{'s' if added > 1 else ''} to the kept ones")
        if not all(one.alike for one in kept):
            notes.append(f"its tokens are not those at '{self.judge.at}', so coverage is measured on its own features")
        return notes

    @property
    def labels(self) -> list[str]:
        """Labels of the methods, with a star for notes."""
        return [one.label + (" *" if notes else "") for one, notes in zip(self.methods, self.notes, strict=True)]

    @property
    def legend(self) -> list[str]:
        """Lines that explain saliency and overlap, the notes, and the files of specs."""
        lines = []
        if self.judge.source is not None and self.images[0].kept[0].share is not None:
            lines.append(f"saliency: share of all '{self.judge.source.spec.name}' that the kept tokens hold")
        if len(self.methods) > 1:
            lines.append(
                f"overlap: tokens kept by both the method and {self.methods[0].label}, of those kept by either"
            )
        for text, numbers in by_note(self.notes).items():
            lines.append(f"* {', '.join(self.methods[number - 1].label for number in numbers)}: {text}")
        return [*lines, *(f"{one.label} is {one.file}" for one in self.methods if one.file)]


def by_note(notes: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """The notes, each text once, with the numbers (from 1) of its methods."""
    found: dict[str, list[int]] = {}
    for number, texts in enumerate(notes, 1):
        for text in texts:
            found.setdefault(text, []).append(number)
    return found


def source_of(pruner: Pruner) -> SaliencySource[Any] | None:
    """The pruner's saliency source, if it has one."""
    from scope_core.parts.saliency import SaliencySource

    return next((part for part in pruner.walk() if isinstance(part, SaliencySource)), None)


def scores_of(source: SaliencySource[Any], tokens: VisualTokens) -> Tensor | None:
    """(B, N) scores in float32; None if a share of them is undefined: some are below 0, or all are equal."""
    import torch

    from scope_core.parts.problem import scores

    if not source.nonnegative:
        return None
    with torch.no_grad():
        values = scores(source, tokens.to_dtype(torch.float32)).masked_fill(~tokens.valid, 0)
    low, high = values.masked_fill(~tokens.valid, torch.inf).amin(), values.amax()
    return values if bool(low >= 0) and bool(high > low) else None


def timed(pruner: Pruner, tokens: VisualTokens, repeats: int = 5, *, most_ms: float = 1000) -> tuple[Selection, float]:
    """The selection, and the median wall time in ms of up to ``repeats`` runs.

    The first run, which computes the signals, is not timed. No further run begins after ``most_ms``.
    """
    selection = pruner.prune(tokens)
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < most_ms):
        start = time.perf_counter()
        selection = pruner.prune(tokens)
        times.append((time.perf_counter() - start) * 1e3)
    return selection, statistics.median(times)

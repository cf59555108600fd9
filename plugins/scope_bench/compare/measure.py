"""What is measured: every entrant on every photograph, one photograph at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scope_bench.compare.methods import Absentee, Entrant
from scope_core.cli.selections import places, scores_of, timed
from scope_core.errors import ScopeError, TokensError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from scope_core.parts.saliency import SaliencySource
    from scope_core.parts.zoo import Tower
    from scope_core.structures.tokens import VisualTokens


@dataclass(frozen=True)
class Judge:
    """How all entrants are judged alike.

    Attributes:
        at: The interception point on whose features coverage is measured.
        thetas: Thresholds of coverage.
        source: The saliency whose share is measured; None for no share.
        repeats: Timed runs of each selection, at most.
    """

    at: str
    thetas: tuple[float, ...]
    source: SaliencySource[Any] | None
    repeats: int


@dataclass(frozen=True)
class Kept:
    """What one entrant kept of one photograph; plain data, so that many photographs find room.

    Attributes:
        tokens: Candidates.
        picks: Kept tokens in the order they were picked.
        stages: Which stage of the selection, from 0, made each pick; None where there was one.
        rows: Tokens that a language model would get.
        merged: Whether dropped tokens were merged into kept ones.
        grid: Rows and columns of the tokens; None where they lie on no single grid.
        cells: (row, column) of each pick; empty likewise.
        ms: Median wall time of the selection.
        coverage: theta-coverage at each of the judge's thresholds.
        share: Share of the judge's saliency; None where it says nothing.
        alike: Whether its tokens are, one for one, those that the judge looks at. If not, coverage is on its own.
    """

    tokens: int
    picks: tuple[int, ...]
    stages: tuple[int, ...] | None
    rows: int
    merged: bool
    grid: tuple[int, int] | None
    cells: tuple[tuple[int, int], ...]
    ms: float
    coverage: tuple[float, ...]
    share: float | None
    alike: bool


@dataclass(frozen=True)
class Shown:
    """One photograph: how many tokens it has for the judge, on which grid and device, and what each entrant kept."""

    tokens: int
    grid: tuple[int, int] | None
    device: str
    kept: tuple[Kept, ...]

    def overlap(self, one: int, other: int) -> float | None:
        """Jaccard index of two entrants' kept tokens, 1 where both keep none; None where their tokens are not alike."""
        mine, theirs = self.kept[one], self.kept[other]
        if mine.tokens != theirs.tokens:
            return None
        both, either = {*mine.picks} & {*theirs.picks}, {*mine.picks} | {*theirs.picks}
        return len(both) / len(either) if either else 1.0


def measure(
    tower: Tower,
    entrants: Sequence[Entrant],
    images: Sequence[tuple[str, Image]],
    judge: Judge,
    *,
    advance: Callable[[], None],
) -> tuple[list[Entrant], list[Absentee], list[Shown]]:
    """Run every entrant on every photograph, each photograph by itself.

    Args:
        tower: Makes the tokens, once per photograph and interception point.
        entrants: Who runs.
        images: ``(name, picture)``.
        judge: How they are judged.
        advance: Called after each entrant on each photograph.

    Returns:
        The entrants that ran on all photographs, those that failed on one, and one `Shown` per photograph.

    Raises:
        ScopeError: an entrant that must run failed; names it and the photograph.
    """
    failed: dict[str, Absentee] = {}
    rows: list[tuple[Shown, dict[str, Kept]]] = []
    for name, image in images:
        tokens = _encode(tower, image, entrants, judge)
        judged = tokens[judge.at]
        scores = None if judge.source is None else scores_of(judge.source, judged)
        row: dict[str, Kept] = {}
        for one in entrants:
            if one.label not in failed:
                try:
                    row[one.label] = _keep(one, tokens[one.at], judged, scores, judge)
                except ScopeError as error:
                    if one.must:
                        raise type(error)(
                            f"{one.label} fails on '{name}': {error}\nLeave it out, or list it as not run with --skip."
                        ) from error
                    failed[one.label] = Absentee(one.given, one.label, False, f"it fails on '{name}': {error}")
            advance()
        rows.append((Shown(int(judged.valid.sum()), _grid(judged), str(judged.device), ()), row))
    ran = [one for one in entrants if one.label not in failed]
    shown = [replace(photograph, kept=tuple(row[one.label] for one in ran)) for photograph, row in rows]
    return ran, list(failed.values()), shown


def _encode(tower: Tower, image: Image, entrants: Sequence[Entrant], judge: Judge) -> dict[str, VisualTokens]:
    """Tokens at every interception point in use, with all signals that are read there."""
    source = judge.source
    needs = {judge.at: frozenset().union(*(part.needs for part in source.walk())) if source else frozenset()}
    for one in entrants:
        needs[one.at] = needs.get(one.at, frozenset()) | one.pruner.needs
    return {at: tower.encode([image], at=at, needs=signals) for at, signals in needs.items()}


def _keep(one: Entrant, tokens: VisualTokens, judged: VisualTokens, scores: Tensor | None, judge: Judge) -> Kept:
    selection, ms = timed(one.pruner, tokens, judge.repeats)
    alike = bool(selection.tokens.valid.shape == judged.valid.shape)
    cover = (replace(selection, tokens=judged) if alike else selection).coverage(judge.thetas)[0].tolist()
    picks = tuple(pick for pick in selection.picks[0].tolist() if pick >= 0)
    stages = None if selection.stage is None else tuple(selection.stage[0].tolist()[: len(picks)])
    grid = _grid(selection.tokens)
    where = [] if grid is None else places(selection.tokens, 0)[1]
    return Kept(
        tokens=int(selection.tokens.valid.sum()),
        picks=picks,
        stages=stages,
        rows=selection.row_counts[0],
        merged=selection.mixed is not None,
        grid=grid,
        cells=tuple(where[pick] for pick in picks) if where else (),
        ms=ms,
        coverage=tuple(cover),
        share=float(selection.share_of(scores)[0]) if alike and scores is not None else None,
        alike=alike,
    )


def _grid(tokens: VisualTokens) -> tuple[int, int] | None:
    try:
        return places(tokens, 0)[0]
    except TokensError:
        return None

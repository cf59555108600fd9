"""Several pruners on the same tokens: who keeps what, and what that is worth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_core.errors import TokensError
from scope_core.parts.saliency import SaliencySource
from scope_core.pruning.compatibility import check_fit
from scope_core.pruning.spec_reader import read_spec
from scope_core.structures.receipt import THETAS

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from scope_core.parts.zoo import Tower
    from scope_core.pruning.pruner import Pruner
    from scope_core.registry.registry import Registry
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens


@dataclass(frozen=True)
class Contestant:
    """One pruner of a comparison; ``notes`` say where it is not what was asked for, ``file`` where it was read from."""

    label: str
    pruner: Pruner
    notes: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one contestant kept, one entry per image.

    Attributes:
        contestant: Who.
        selection: What it kept.
        ms: Median wall time of selecting from all images together.
        coverage: theta-coverage at each of `THETAS`.
        saliency: Share of the main contestant's saliency; None where it has no meaning.
        overlap: Jaccard index of its kept tokens and the main contestant's.
    """

    contestant: Contestant
    selection: Selection
    ms: float
    coverage: list[list[float]]
    saliency: list[float] | None
    overlap: list[float]

    @property
    def notes(self) -> list[str]:
        """What to know of its kept tokens."""
        rows, kept = self.selection.row_counts, self.selection.counts
        return row_notes(self.selection.mixed is not None, max(r - k for r, k in zip(rows, kept, strict=True)))


def row_notes(merged: bool, added: int) -> list[str]:
    """What to know of a method whose rows are not just its kept tokens: it merges, or adds some of its own."""
    notes = []
    if merged:
        notes.append("merges dropped tokens into kept ones; coverage and saliency count the kept ones alone")
    if added:
        notes.append(f"sends {added} token{'s' if added > 1 else ''} of its own besides the kept ones")
    return notes


def by_note(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """What to know of single contestants, each text once, with the labels of those it is about."""
    found: dict[str, list[str]] = {}
    for one in outcomes:
        for text in one.notes:
            found.setdefault(text, []).append(one.contestant.label)
    return found


def enter(
    main: str, others: Sequence[str], *, keep: int | None, registry: Registry, declaration: Declaration
) -> list[Contestant]:
    """The contestants, ready to run on a tower; the first is the main one.

    Args:
        main: Spec of the main one.
        others: Specs to compare with; recipes without a budget of their own take the main one's.
        keep: Tokens per image, instead of the main spec's budget.
        registry: Where names are looked up.
        declaration: What the tower offers.

    Raises:
        SpecError: a spec is wrong.
        SignalError: the tower cannot give a signal that a part needs.
        AdapterError: a spec takes tokens at a point that the tower does not have, and it has several.
    """
    from scope_core.pruning.pruner import Pruner

    budget = {} if keep is None else {"budget": keep}
    first = read_spec(main, registry, **budget)
    specs = [first]
    for other in others:
        bare = registry.has("recipe", other)
        specs.append(read_spec(other, registry, **({"budget": first.budget} if bare else {})))
    # on a tower alone nothing is handed on to a projector, so whatever is merged may be merged anywhere
    declaration = replace(declaration, merges=frozenset(declaration.points))
    entered: list[Contestant] = []
    for text, spec in zip([main, *others], specs, strict=True):
        label = named(text, Pruner(spec, registry=registry).label, [one.label for one in entered])
        notes: tuple[str, ...] = ()
        points = list(declaration.points)
        if spec.at not in points and len(points) == 1:
            notes = (
                f"{label} takes tokens at '{spec.at}', which {declaration.model} does not have; "
                f"'{points[0]}' is used instead",
            )
            spec = spec.model_copy(update={"at": points[0]})
        pruner = Pruner(spec, registry=registry)
        check_fit(pruner, declaration)
        entered.append(Contestant(label, pruner, notes, text if is_file(text) else ""))
    return entered


def is_file(text: str) -> bool:
    """Whether a spec as written names a file."""
    return text.endswith((".yaml", ".yml", ".json"))


def named(text: str, label: str, taken: Sequence[str]) -> str:
    """What to call a spec in tables: its label, and where that is taken the file it is in, or a number, behind it."""
    file = [f"{label} ({Path(text).name})"] if is_file(text) else []
    numbers = (f"{label} ({number})" for number in range(2, len(taken) + 3))
    return next(name for name in (label, *file, *numbers) if name not in taken)


def encode(tower: Tower, images: Sequence[Image], contestants: Sequence[Contestant]) -> dict[str, VisualTokens]:
    """Tokens at every interception point in use, each encoded once with all signals that are needed there."""
    needs: dict[str, frozenset[str]] = {}
    for one in contestants:
        needs[one.pruner.spec.at] = needs.get(one.pruner.spec.at, frozenset()) | one.pruner.needs
    return {at: tower.encode(images, at=at, needs=signals) for at, signals in needs.items()}


def compare_all(contestants: Sequence[Contestant], tokens: dict[str, VisualTokens]) -> list[Outcome]:
    """Run every contestant; all are judged on the main one's tokens, where they have the same number of them."""
    reference = tokens[contestants[0].pruner.spec.at]
    values = saliency_of(contestants[0].pruner, reference)
    outcomes: list[Outcome] = []
    for one in contestants:
        selection, ms = timed(one.pruner, tokens[one.pruner.spec.at])
        same = bool(selection.tokens.valid.shape == reference.valid.shape)
        judged = replace(selection, tokens=reference) if same else selection
        main = outcomes[0].selection.mask if outcomes else selection.mask
        outcomes.append(
            Outcome(
                one,
                selection,
                ms,
                judged.coverage(THETAS).tolist(),
                judged.share_of(values).tolist() if values is not None and same else None,
                jaccard(selection.mask, main) if same else [float("nan")] * len(main),
            )
        )
    return outcomes


def saliency_of(pruner: Pruner, tokens: VisualTokens) -> Tensor | None:
    """(B, N) scores of the pruner's saliency source; None where a share of them would say nothing."""
    source = next((part for part in pruner.walk() if part.kind == "saliency"), None)
    return scores_of(source, tokens) if isinstance(source, SaliencySource) else None


def scores_of(source: SaliencySource[Any], tokens: VisualTokens) -> Tensor | None:
    """(B, N) scores in float32; None where a share of them would say nothing: some below 0, or all the same."""
    import torch

    from scope_core.parts.problem import scores

    if not source.nonnegative:
        return None
    with torch.no_grad():
        values = scores(source, tokens.to_dtype(torch.float32)).masked_fill(~tokens.valid, 0)
    low, high = values.masked_fill(~tokens.valid, torch.inf).amin(), values.amax()
    return values if bool(low >= 0) and bool(high > low) else None


def saliency_name(pruner: Pruner) -> str:
    """The name of the pruner's saliency source; empty where it has none."""
    return next((part.spec.name for part in pruner.walk() if part.kind == "saliency"), "")


def places(tokens: VisualTokens, image: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The grid (rows, columns) of an image's tokens, and the (row, column) of each token.

    Raises:
        TokensError: the tokens carry no positions, or lie on several tiles.
    """
    valid = tokens.valid[image]
    rows, columns = tokens.row[image], tokens.col[image]
    if int(rows[valid].min()) < 0 or int(columns[valid].min()) < 0:
        raise TokensError("these tokens carry no grid positions, so no picture can be drawn; leave --out away")
    if int(tokens.tile[image][valid].max()) > 0:
        raise TokensError("these tokens lie on several tiles, and only pictures of one can be drawn; leave --out away")
    grid = (int(rows[valid].max()) + 1, int(columns[valid].max()) + 1)
    return grid, list(zip(rows.tolist(), columns.tolist(), strict=True))


def image_facts(outcome: Outcome, image: int) -> dict[str, Any]:
    """What one contestant kept of one image, as plain data."""
    row = outcome.selection.to_dict()["rows"][image]
    cover = dict(zip(map(str, THETAS), outcome.coverage[image], strict=True))
    return {
        "label": outcome.contestant.label,
        "tokens": row["tokens"],
        "kept_count": row["count"],
        "rows": outcome.selection.row_counts[image],
        "theta_coverage": cover,
        "saliency_share": None if outcome.saliency is None else outcome.saliency[image],
        "overlap": outcome.overlap[image],
        **{key: row[key] for key in ("picks", "kept", "gains", "scores")},
    }


def timed(pruner: Pruner, tokens: VisualTokens, repeats: int = 5, *, most_ms: float = 1000) -> tuple[Selection, float]:
    """The selection, and the median wall time in ms of up to ``repeats`` runs.

    A first run, which computes the signals and warms up, is not among them. No further one is begun after ``most_ms``.
    """
    selection = pruner.prune(tokens)
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < most_ms):
        start = time.perf_counter()
        selection = pruner.prune(tokens)
        times.append((time.perf_counter() - start) * 1e3)
    return selection, statistics.median(times)


def jaccard(mine: Tensor, main: Tensor) -> list[float]:
    """Of the tokens in either mask (B, N), the share in both, for each row; 1 where both are empty."""
    both, either = (mine & main).sum(1), (mine | main).sum(1)
    return [b / e if e else 1.0 for b, e in zip(both.tolist(), either.tolist(), strict=True)]

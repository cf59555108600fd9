"""`sweep`: many specs, budgets and values of options on the same images."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scope_core.errors import ScopeError, SignalError, SpecError, TokensError, quoted
from scope_core.frames import flattened
from scope_core.parts.zoo import LoadedModel, load
from scope_core.progress import Tell, progress_bar
from scope_core.pruning.labels import options_of
from scope_core.pruning.pruner import Pruner
from scope_core.pruning.reader import Reader, point_of
from scope_core.registry.discovery import default_registry
from scope_core.registry.registry import Registry
from scope_core.structures.layout import Layout
from scope_core.structures.receipt import THETAS
from scope_core.structures.tokens import VisualTokens
from scope_core.sweeps.table import Sweep

SpecLike = Any
"""A spec in any form that `Pruner` takes."""
Encode = Callable[[Pruner], tuple[VisualTokens, "Layout | None"]]


def sweep(
    specs: SpecLike | Sequence[SpecLike],
    budgets: Sequence[int | float] = (),
    *,
    options: Mapping[str, Sequence[Any]] | None = None,
    tokens: VisualTokens | None = None,
    tower: Any = None,
    model: LoadedModel | None = None,
    images: Sequence[Any] = (),
    question: str = "",
    thetas: Sequence[float] = THETAS,
    repeats: int = 3,
    progress: Callable[[int, int], None] | bool = True,
    registry: Registry | None = None,
) -> Sweep:
    """Run every spec at every budget and every combination of options, on the same images.

    Give the images as ``tokens``; or as ``images`` with a ``tower`` or a ``model``, which encodes them once.

    Args:
        specs: A spec in any form that `Pruner` takes, or a list of them.
        budgets: Budgets, e.g. ``[16, 64, 144]`` or ``[0.1, 0.25]``; each spec's own if left out.
        options: Values of options by path, e.g. ``{"combiner.alpha": [0.5, 1, 2]}``; every combination is run.
        tokens: Tokens to select from, with the signals that the specs read.
        tower: A tower, or the name of one in the zoo.
        model: A loaded model; its tokens are those that a pruner attached to it gets.
        images: Images, in any form that towers read.
        question: Question for the model, for methods that read the prompt.
        thetas: Thresholds of theta-coverage, each in [-1, 1].
        repeats: Timed runs of each selection, after one that is not timed; the median is reported.
        progress: True for a progress bar where one can be shown, or a function that is called with (done, total).
        registry: The registry that names are looked up in; the process' default registry if left out.

    Returns:
        A `Sweep`. A spec that cannot be run on these images has a row with its ``error``, and a warning names it.

    Raises:
        SpecError: a spec, budget or option is wrong; nothing was run.
        TokensError: no images were given, or in two ways; a threshold is outside [-1, 1].
    """
    known = registry or default_registry()
    for theta in thetas:
        if not -1 <= theta <= 1:
            raise TokensError(f"theta is a cosine, so it must be in [-1, 1]; got {theta}")
    pruners = _pruners(specs, budgets, dict(options or {}), known)
    encode = _encoder(pruners, tokens, tower, model, images, question, known)
    columns = _columns(pruners, list(options or {}), known)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    with progress_bar("sweep") if progress is True else _told(progress) as tell:
        for number, (pruner, facts) in enumerate(zip(pruners, columns, strict=True), 1):
            try:
                found = _run(pruner, *encode(pruner), tuple(thetas), repeats)
            except ScopeError as error:
                found = [{"image": None, "error": str(error)}]
                failed.append(f"{pruner.label}: {error}")
            rows += [{**facts, **row} for row in found]
            tell(number, len(pruners))
    if failed:
        warnings.warn(f"{len(failed)} of {len(pruners)} specs could not be run: {'; '.join(failed)}", stacklevel=2)
    keys = dict.fromkeys(itertools.chain(*(row for row in rows if not row["error"]), *rows))
    return Sweep(tuple({key: row.get(key) for key in keys} for row in rows))


def _pruners(
    specs: SpecLike, budgets: Sequence[int | float], options: Mapping[str, Sequence[Any]], registry: Registry
) -> list[Pruner]:
    """A pruner for each combination, each once."""
    given = list(specs) if isinstance(specs, (list, tuple)) else [specs]
    if isinstance(budgets, (str, int, float, Mapping)):
        raise SpecError(f"budgets must be a list, e.g. [16, 64], not {quoted(budgets)}")
    for path, values in options.items():
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence):
            raise SpecError(f"options: '{path}' must map to a list of values, e.g. [0.5, 1, 2], not {quoted(values)}")
    found: list[Pruner] = []
    amounts: list[int | float | None] = [*budgets] or [None]
    for spec in given:
        plain = spec.spec if isinstance(spec, Pruner) else spec
        for *values, budget in itertools.product(*options.values(), amounts):
            overrides = _nested(dict(zip(options, values, strict=True)))
            if budget is not None:
                overrides["budget"] = budget
            one = Pruner(Path(plain) if isinstance(plain, Path) else plain, registry=registry, **overrides)
            if all(one.spec != other.spec for other in found):
                found.append(one)
    if not found:
        raise SpecError("no spec was given; give a list, e.g. ['scope', 'top_k_attention']")
    return found


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"combiner": {"alpha": 0.5}}`` for ``{"combiner.alpha": 0.5}``."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *outer, last = path.split(".")
        inner = found
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return found


def _columns(pruners: Sequence[Pruner], asked: Sequence[str], registry: Registry) -> list[dict[str, Any]]:
    """The columns of each pruner that do not depend on images: labels, budget, and the options that differ."""
    paths = dict.fromkeys(asked)
    differing = [options_of(pruner.spec, registry) for pruner in pruners]
    for found in differing:
        paths.update(dict.fromkeys(path for path in found if path not in paths))
    columns: list[dict[str, Any]] = []
    for pruner, texts in zip(pruners, differing, strict=True):
        table = pruner.spec.to_dict(registry)
        values = {**table, **flattened(table)}
        method, _, budget = pruner.label.rpartition("@")
        same = sum(one["spec"].partition(" (")[0] == pruner.label for one in columns)
        number = f" ({same + 1})" if same else ""
        columns.append(
            {
                "method": method + number,
                "spec": pruner.label + number,
                "budget": budget,
                **{path: _plain(values.get(path), texts.get(path)) for path in paths},
            }
        )
    return columns


def _plain(value: Any, text: str | None) -> Any:
    """A value for a table: a number or a word, and ``text``, or a part's name, in place of a part or a list."""
    if isinstance(value, Mapping):
        return text or value.get("name")
    return text if isinstance(value, list) else value


def _encoder(
    pruners: Sequence[Pruner],
    tokens: VisualTokens | None,
    tower: Any,
    model: LoadedModel | None,
    images: Sequence[Any],
    question: str,
    registry: Registry,
) -> Encode:
    """A function that gives the tokens that a pruner selects from; each is computed when first asked for."""
    ways = [name for name, way in (("tokens", tokens), ("tower", tower), ("model", model)) if way is not None]
    if len(ways) != 1:
        given = f"{' and '.join(ways)} were given" if ways else "none was given"
        raise TokensError(f"give one of tokens=..., tower=... with images=..., model=... with images=...; {given}")
    if tokens is not None:
        given_tokens = tokens
        return lambda pruner: (given_tokens, None)
    if not len(images):
        raise TokensError(f"{ways[0]}=... needs images=[...], at least one")
    loaded = load(tower, registry=registry) if isinstance(tower, str) else tower
    seen: dict[str, tuple[VisualTokens, Layout | None]] = {}

    def encode(pruner: Pruner) -> tuple[VisualTokens, Layout | None]:
        _check(pruner, loaded, model)
        point = point_of(pruner)
        if point not in seen:
            others = [one for one in pruners if point_of(one) == point and _fits(one, loaded, model)]
            needs: frozenset[str] = frozenset().union(*(one.needs for one in others))
            if model is None:
                seen[point] = loaded.encode(list(images), at=pruner.spec.at, needs=needs), None
            else:
                with Reader(pruner, needs).attach(model.model) as reading:
                    found = reading.encode(model.inputs(list(images), question))
                seen[point] = found.tokens, found.layout
        return seen[point]

    return encode


def _check(pruner: Pruner, tower: Any, model: LoadedModel | None) -> None:
    """Refuse a pruner that cannot select from these images.

    Raises:
        SignalError: a signal is missing.
        AdapterError: the model is not one that the spec's adapter serves.
    """
    if model is not None:
        pruner.check(model.model)
    elif missing := tower.declaration.lacks(pruner.needs):
        raise SignalError(f"it needs {', '.join(missing)}, which {tower.declaration.model} alone does not have")


def _fits(pruner: Pruner, tower: Any, model: LoadedModel | None) -> bool:
    try:
        _check(pruner, tower, model)
    except ScopeError:
        return False
    return True


def _run(
    pruner: Pruner, tokens: VisualTokens, layout: Layout | None, thetas: tuple[float, ...], repeats: int
) -> list[dict[str, Any]]:
    """One row for each image."""
    if len(pruner.stages) > 1:
        points = ", ".join(stage.spec.at for stage in pruner.stages[1:])
        raise SpecError(f"it also prunes at {points}, inside the language model, which a sweep does not run")
    selection, times = pruner.prune(tokens, layout), []
    for _ in range(repeats):
        start = time.perf_counter()
        pruner.prune(tokens, layout)
        times.append((time.perf_counter() - start) * 1e3)
    images = tokens.shape[0]
    return [
        {
            "image": image,
            "tokens": valid,
            "kept": rows,
            **{f"coverage {theta:g}": share for theta, share in zip(thetas, shares, strict=True)},
            "select_ms": statistics.median(times) / images if times else None,
            "error": "",
        }
        for image, (valid, rows, shares) in enumerate(
            zip(
                selection.tokens.n_valid,
                selection.row_counts,
                selection.coverage(thetas).tolist() if thetas else [[]] * images,
                strict=True,
            )
        )
    ]


@contextlib.contextmanager
def _told(progress: Callable[[int, int], None] | bool) -> Iterator[Tell]:
    yield progress if callable(progress) else lambda done, total: None

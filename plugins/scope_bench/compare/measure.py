"""What is measured: every method on every photograph, one photograph at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scope_core import ScopeError, SignalError, UnknownNameError
from scope_core.cli.methods import LeftOut, Methods
from scope_core.cli.selections import Judge, Kept, Selected, Shown, Trial, shown_of
from scope_core.commands import did_you_mean, listed

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core import Registry
    from scope_core.adapters import Declaration, Tower
    from scope_core.parts import SaliencySource


def measure(
    tower: Tower,
    methods: Methods,
    images: Sequence[tuple[str, Image]],
    judge: Judge,
    *,
    skip: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Selected:
    """Run every method on every photograph, each photograph by itself; methods that fail are left out.

    Args:
        tower: Makes the tokens, once per photograph and interception point.
        methods: Who runs.
        images: ``(name, picture)``.
        judge: How they are judged.
        skip: Leave out methods that fail even if they were typed by themselves.
        progress: Called with (selections that are done, selections in all).

    Returns:
        Selections of the methods that ran on all photographs.

    Raises:
        ScopeError: a method that was typed by itself failed; names it and the photograph.
    """
    count, kept = len(methods.run), {one: list[Kept]() for one in methods.run}
    bare: list[Shown] = []
    for number, (name, image) in enumerate(images):
        trial = Trial(tower, [image], list(kept), judge)
        bare += shown_of(trial.tokens[judge.at], [])
        for place, one in enumerate(list(kept), 1):
            try:
                kept[one] += trial.kept(one)
            except ScopeError as error:
                why = f"fails on '{name}': {error}"
                if one.named and not skip:
                    raise type(error)(f"{one.label} {why}\nOmit it, or list it as not run with --skip.") from error
                del kept[one]
                methods.left_out.append(LeftOut(one, f"it {why}"))
            progress(number * count + place, len(images) * count)
    methods.run = list(kept)
    columns = kept.values()
    shown = [replace(one, kept=tuple(column[number] for column in columns)) for number, one in enumerate(bare)]
    return Selected(methods.run, judge, shown)


def saliency_source(name: str | None, *, registry: Registry, declaration: Declaration) -> SaliencySource[Any] | None:
    """The source whose share is measured: the one named, else the default one, else the first that reads a signal.

    Returns:
        A source that the tower can feed and whose scores are never below 0; None if no name is given and none is.

    Raises:
        UnknownNameError: nothing of that name is installed.
        SignalError: the tower lacks its signals, or it gives scores below 0.
    """
    default = registry.default("saliency")
    records = sorted(registry.records("saliency"), key=lambda record: record != default)
    fitting: dict[str, SaliencySource[Any]] = {}
    for record in records:
        try:
            spec = record.spec.model_validate({"name": record.name}, context={"registry": registry})
            source = registry.build("saliency", spec)
        except (ScopeError, ValueError):  # it has options without a default
            continue
        needs = frozenset().union(*(part.needs for part in source.walk()))
        if source.nonnegative and needs and not declaration.lacks(needs):
            fitting[record.name] = source
    if name is None:
        return next(iter(fitting.values()), None)
    if name not in fitting:
        if not registry.has("saliency", name):
            known = registry.names("saliency")
            raise UnknownNameError(f"no saliency is called '{name}'{did_you_mean(name, known)}. Known: {listed(known)}")
        raise SignalError(
            f"a share of saliency '{name}' cannot be measured on {declaration.model}: it needs signals that are not "
            f"there, reads none, or gives scores below 0. Those that can: {listed(fitting)}"
        )
    return fitting[name]

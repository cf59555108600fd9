"""Selections of every method on every image, one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from scope_core import ScopeError, SignalError, UnknownNameError
from scope_core.cli.methods import LeftOut, Methods
from scope_core.cli.selections import Judge, Kept, Selected, Shown, Trial, shown_of
from scope_core.commands import did_you_mean, listed

if TYPE_CHECKING:
    from scope_core import Registry
    from scope_core.adapters import Declaration, Tower
    from scope_core.parts import SaliencySource


def measure(
    tower: Tower,
    methods: Methods,
    images: Sequence[tuple[str, Image.Image]],
    judge: Judge,
    *,
    skip: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Selected:
    """Run every method on every image, each image by itself; methods that fail are left out.

    Args:
        tower: The tower, which encodes each image once per interception point.
        methods: The methods.
        images: ``(name, image)``.
        judge: Settings of coverage, saliency share and timing.
        skip: Leave out methods that fail even if they were typed by name.
        progress: Called with (finished selections, all selections).

    Returns:
        Selections of the methods that ran on all images.

    Raises:
        ScopeError: a method that was typed by name failed; the message names it and the image.
    """
    count, kept = len(methods.run), {one: list[Kept]() for one in methods.run}
    shown: list[Shown] = []
    for number, (name, image) in enumerate(images):
        trial = Trial(tower, [image], list(kept), judge)
        shown += shown_of(trial.tokens[judge.at], [])
        for place, method in enumerate(list(kept), 1):
            try:
                kept[method] += trial.kept(method)
            except ScopeError as error:
                why = f"fails on '{name}': {error}"
                if method.named and not skip:
                    raise type(error)(f"{method.label} {why}\nOmit it, or list it as not run with --skip.") from error
                del kept[method]
                methods.left_out.append(LeftOut(method, f"it {why}"))
            progress(number * count + place, len(images) * count)
    methods.run = list(kept)
    columns = kept.values()
    images_shown = [replace(image, kept=tuple(column[n] for column in columns)) for n, image in enumerate(shown)]
    return Selected(methods.run, judge, images_shown)


def saliency_source(name: str | None, *, registry: Registry, declaration: Declaration) -> SaliencySource[Any] | None:
    """The saliency whose share is measured: the named source, else the default, else the first that reads a signal.

    Returns:
        A source whose signals the tower has, with scores of at least 0; None if no name is given and no source fits.

    Raises:
        UnknownNameError: no source of that name is installed.
        SignalError: the tower lacks its signals, or its scores may be negative.
    """
    default = registry.default("saliency")
    records = sorted(registry.records("saliency"), key=lambda record: record != default)
    fitting: dict[str, SaliencySource[Any]] = {}
    for record in records:
        try:
            source = registry.build_named("saliency", record.name)
        except (ScopeError, ValueError):  # has options without a default
            continue
        needs = source.all_needs
        if source.nonnegative and needs and not declaration.lacks(needs):
            fitting[record.name] = source
    if name is None:
        return next(iter(fitting.values()), None)
    if name not in fitting:
        if not registry.has("saliency", name):
            known = registry.names("saliency")
            raise UnknownNameError(f"no saliency is called '{name}'{did_you_mean(name, known)}. Known: {listed(known)}")
        raise SignalError(
            f"the share of saliency '{name}' cannot be measured on {declaration.model}: its signals are missing, it "
            f"reads no signals, or its scores may be negative. Allowed: {listed(fitting)}"
        )
    return fitting[name]

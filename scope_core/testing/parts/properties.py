"""The contract of every kind of part: which properties it has, and trying them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from scope_core.errors import UnknownNameError, did_you_mean, listed
from scope_core.testing.adapters.conformance import ConformanceError
from scope_core.testing.adapters.harness import Broken
from scope_core.testing.parts import fast_paths, hygiene, mathematics, planning, selection, specs, without_matrix
from scope_core.testing.parts.cases import LARGE, RICH, Case
from scope_core.testing.parts.shrinking import search
from scope_core.testing.parts.subject import Subject

Applies = Callable[[Any, Subject], bool]


@dataclass(frozen=True)
class Property:
    """One promise.

    Attributes:
        check: Raises `Broken` for a case in which it does not hold; its name and first line are the property's.
        kinds: Kinds of part that owe it.
        when: Whether a live part owes it, by what it declares.
        how: ``"once"``: not about examples. ``"known"``: the kit's own examples. ``"drawn"``: drawn ones too.
            ``"plain"``: those without equal tokens.
        more: Examples of its own, beside those.
    """

    check: Callable[[Subject, Case], None]
    kinds: tuple[str, ...]
    when: Applies = lambda part, subject: True
    how: str = "drawn"
    more: tuple[Case, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in messages and test ids."""
        return self.check.__name__

    @property
    def about(self) -> str:
        """In words."""
        first = (self.check.__doc__ or "").splitlines()[0].rstrip(".")
        return first[:1].lower() + first[1:]


TENSORS = ("saliency", "similarity", "coverage", "combiner", "constraint", "optimizer", "selector", "merger")
COUNTS = ("budget", "partition", "position")
EVERY = (*TENSORS, *COUNTS)
NUMBERS = ("saliency", "similarity", "coverage", "combiner", "merger")
CHOOSERS = ("optimizer", "selector")


def _declares(name: str) -> Applies:
    return lambda part, subject: bool(getattr(part, name))


def _offers(*names: str) -> Applies:
    """Where an optional member, and of that another, is there."""

    def applies(part: Any, subject: Subject) -> bool:
        for name in names:
            part = getattr(part, name)
            if part is None:
                return False
        return True

    return applies


def _if_given(part: Any, subject: Subject) -> bool:
    return subject.value is not None


def _if_short(part: Any, subject: Subject) -> bool:
    return subject.record.spec.shorthand is not None


TABLE = (
    Property(specs.attributes, EVERY, how="once"),
    Property(hygiene.shape, EVERY, how="known"),
    Property(specs.documented, EVERY, how="once"),
    Property(specs.round_trip, EVERY, how="once"),
    Property(specs.schema, EVERY, how="once"),
    Property(hygiene.dtype, TENSORS, how="known"),
    Property(hygiene.finite, NUMBERS),
    Property(hygiene.inputs, EVERY, how="known"),
    Property(hygiene.gradients, TENSORS, how="known"),
    Property(hygiene.deterministic, EVERY, how="known"),
    Property(hygiene.stateless, EVERY, how="known"),
    Property(hygiene.threads, EVERY, how="once"),
    Property(hygiene.batch, TENSORS, how="plain"),
    Property(hygiene.padding, TENSORS, how="plain"),
    Property(hygiene.order, TENSORS, _declares("equivariant"), how="plain"),
    Property(mathematics.nonnegative, ("saliency",), lambda part, subject: bool(part.nonnegative)),
    Property(mathematics.symmetric, ("similarity",), _declares("symmetric")),
    Property(mathematics.bounds, ("similarity",)),
    Property(mathematics.empty, ("coverage",)),
    Property(mathematics.monotone, ("coverage",), _declares("monotone")),
    Property(mathematics.submodular, ("coverage",), _declares("submodular")),
    Property(mathematics.set_function, ("coverage",), _declares("submodular")),
    Property(mathematics.value, ("coverage",), _if_given),
    Property(fast_paths.picks, ("coverage",), _offers("kernel"), more=(LARGE,)),
    Property(without_matrix.vectors, ("similarity",), _offers("vectors")),
    Property(fast_paths.picks_in_blocks, ("coverage",), _offers("kernel", "picks_in_blocks"), more=(LARGE,)),
    Property(mathematics.affine, ("combiner",), _offers("affine")),
    Property(mathematics.unused, ("combiner",)),
    Property(selection.counts, CHOOSERS),
    Property(selection.valid, CHOOSERS),
    Property(selection.required, CHOOSERS),
    Property(selection.exact, ("optimizer",), _declares("exact")),
    Property(selection.record, ("selector",)),
    Property(planning.pure, ("budget", "partition")),
    Property(planning.met, ("budget",), how="once"),
    Property(planning.additive, ("budget",), _declares("additive")),
    Property(planning.rising, ("budget",), _if_short),
    Property(planning.once, ("partition",)),
    Property(planning.rows, ("merger",)),
    Property(planning.extras, ("merger",)),
    Property(planning.identity, ("position",)),
    Property(planning.gapless, ("position",)),
)
"""Every property, those that the others build on first."""


FIRST = {"attributes", "shape", "deterministic", "stateless"}
"""Properties without which the others mean nothing."""


def properties_of(kind: str) -> dict[str, str]:
    """``{property: in words}`` of a kind of part."""
    return {prop.name: prop.about for prop in TABLE if kind in prop.kinds}


def owed(subject: Subject) -> list[Property]:
    """What a part owes: the properties of its kind, those that are declared only where they are."""
    mine = [prop for prop in TABLE if subject.kind in prop.kinds]
    try:
        part = subject.part()
        return [prop for prop in mine if prop.when(part, subject)]
    except Exception:  # it cannot be built, or an attribute raises: "attributes" says so
        return mine


def attempt(prop: Property, subject: Subject) -> None:
    """Try one property.

    Raises:
        Broken: it does not hold.
    """
    if prop.how == "once":
        prop.check(subject, RICH[0])
    else:
        examples = 0 if prop.how == "known" else subject.examples
        plain = prop.how == "plain"
        search(lambda case: prop.check(subject, case), examples=examples, plain=plain, more=prop.more)


@dataclass(frozen=True)
class PartConformance:
    """What was tried of a part.

    Attributes:
        part: The part, with where it is from.
        passed: Properties that hold.
        seconds: Wall time of each.
    """

    part: str
    passed: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.part}: all {len(self.passed)} properties hold: {', '.join(self.passed)}"


def check_subject(subject: Subject, only: Collection[str] = ()) -> PartConformance:
    """Try everything that a part owes.

    Raises:
        ConformanceError: says every property that does not hold, and how.
        UnknownNameError: there is no such property.
    """
    about = properties_of(subject.kind)
    for name in only:
        if name not in about:
            raise UnknownNameError(
                f"no property of {subject.kind} is called '{name}'{did_you_mean(name, about)}. Known: {listed(about)}"
            )
    failures: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for prop in owed(subject):
        if only and prop.name not in only:
            continue
        start = time.perf_counter()
        try:
            attempt(prop, subject)
        except Broken as reason:
            failures[prop.name] = str(reason)
        seconds[prop.name] = time.perf_counter() - start
        if failures.keys() & FIRST:
            break  # nothing can be built, or compared: the rest would say no more
    if failures:
        raise ConformanceError(str(subject), failures, about)
    return PartConformance(str(subject), tuple(seconds), seconds)

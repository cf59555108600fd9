"""The public checks: one function for each kind of part, and `parametrize` for pytest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypedDict, TypeVar, cast

from torch import Tensor
from typing_extensions import Unpack

from scope_core.errors import MissingDependencyError
from scope_core.registry.entries import Entry
from scope_core.registry.registry import Registry
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import ConformanceError, PropertyViolation
from scope_core.testing.parts.cases import Case, MakeSignal
from scope_core.testing.parts.properties import (
    PartConformance,
    Property,
    attempt,
    check_subject,
    expected_of,
    owed,
    properties_of,
)
from scope_core.testing.parts.subject import Subject, subject_of

Test = TypeVar("Test", bound=Callable[..., Any])

PartLike = str | Entry | Mapping[str, Any]
"""The name of a registered part, a table with its name and options, or an `Entry` that is not registered."""


class Decorator(Protocol):
    """The type of what `parametrize` returns: it keeps the type of the test."""

    def __call__(self, test: Test, /) -> Test:
        """Mark a test."""
        ...


class Conditions(TypedDict, total=False):
    """Conditions under which a part is checked; all are optional.

    Attributes:
        options: Options of the part. Required ones that are left out are guessed.
        registry: Where the part is looked up; the process' default registry if left out.
        signals: ``{family: axes or function}`` for signals that the kit does not know; see `MakeSignal`.
        tokens: Makes the tokens of a `Case`, for parts that need special ones.
        examples: How many examples are drawn for each property; 10 if left out.
        expected_failures: ``{property: reason}`` of properties that are known not to hold. They are tried all the same:
            one that holds is an error that says to remove it from here.
    """

    options: Mapping[str, Any]
    registry: Registry
    signals: Mapping[str, MakeSignal]
    tokens: Callable[[Case], VisualTokens]
    examples: int
    expected_failures: Mapping[str, str]


def check_saliency(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a saliency source; see `properties_of`. ``how`` is as in `Conditions`.

    Raises:
        ConformanceError: names every property that does not hold, with the smallest example that was found.
    """
    return _check(_subject("saliency", part, how), only, how)


def check_similarity(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a similarity metric, as `check_saliency`."""
    return _check(_subject("similarity", part, how), only, how)


def check_coverage(
    part: PartLike,
    *,
    value: Callable[[Tensor, list[int]], float] | None = None,
    only: Collection[str] = (),
    **how: Unpack[Conditions],
) -> PartConformance:
    """Try every property of a coverage function, as `check_saliency`.

    Args:
        part: The part.
        value: The set function, ``(similarity (N, N), chosen tokens) -> f``; gains are compared with it.
        only: Properties to try.
        how: As in `Conditions`.
    """
    return _check(_subject("coverage", part, how, value=value), only, how)


def check_combiner(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a combiner, as `check_saliency`."""
    return _check(_subject("combiner", part, how), only, how)


def check_optimizer(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of an optimizer, as `check_saliency`."""
    return _check(_subject("optimizer", part, how), only, how)


def check_selector(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a selector, as `check_saliency`."""
    return _check(_subject("selector", part, how), only, how)


def check_statistic(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a statistic, as `check_saliency`."""
    return _check(_subject("statistic", part, how), only, how)


def check_budget(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a budget, as `check_saliency`."""
    return _check(_subject("budget", part, how), only, how)


def check_partition(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a partition, as `check_saliency`."""
    return _check(_subject("partition", part, how), only, how)


def check_constraint(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a constraint, as `check_saliency`."""
    return _check(_subject("constraint", part, how), only, how)


def check_merger(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a merger, as `check_saliency`."""
    return _check(_subject("merger", part, how), only, how)


def check_position(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a position policy, as `check_saliency`."""
    return _check(_subject("position", part, how), only, how)


def check_task(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a task, as `check_saliency`. Examples and images are made, no model is asked."""
    return _check(_subject("task", part, how), only, how)


def parametrize(part: PartLike, kind: str | None = None, **how: Unpack[Conditions]) -> Decorator:
    """A pytest decorator: one test case for each property that a part must have.

        @parametrize("acme.spread")
        def test_contract(check):
            check()

    Args:
        part: The part.
        kind: Kind of part, where parts of several kinds have this name.
        how: As in `Conditions`. Expected failures are reported as xfail, with the reason.

    Raises:
        UnknownNameError: There is no such part, or ``expected_failures`` names a property that it need not have.
    """
    try:
        import pytest
    except ImportError as error:
        raise MissingDependencyError(
            f"parametrize() makes test cases for pytest: {error}. Try: pip install pytest, or use check_coverage()"
        ) from error
    subject = _subject(kind, part, how)
    expected = expected_of(subject, how.get("expected_failures", {}))
    cases = [
        pytest.param(_Check(prop, subject, expected.get(prop.name)), id=f"{subject.record.name}-{prop.name}")
        for prop in owed(subject)
    ]
    return cast(Decorator, pytest.mark.parametrize("check", cases))


class _Check:
    """One property of one part, to be called in a test; ``reason`` says why it is expected to fail, if it is."""

    def __init__(self, prop: Property, subject: Subject, reason: str | None) -> None:
        self.prop, self.subject, self.reason = prop, subject, reason

    def __repr__(self) -> str:
        return f"{self.prop.name} of {self.subject}"

    def __call__(self) -> None:
        __tracebackhide__ = True  # a traceback should end at the author's line
        name, about = self.prop.name, properties_of(self.subject.kind)
        try:
            attempt(self.prop, self.subject)
        except PropertyViolation as violation:
            if self.reason is not None:
                import pytest

                pytest.xfail(self.reason)
            raise ConformanceError(str(self.subject), {name: str(violation)}, about) from violation.__cause__
        if self.reason is not None:
            raise ConformanceError(str(self.subject), {}, about, outdated={name: self.reason})


def _check(subject: Subject, only: Collection[str], how: Conditions) -> PartConformance:
    return check_subject(subject, only, how.get("expected_failures"))


def _subject(kind: str | None, part: PartLike, how: Conditions, **more: Any) -> Subject:
    return subject_of(
        kind,
        part,
        options=how.get("options"),
        registry=how.get("registry"),
        signals=how.get("signals", {}),
        make=how.get("tokens"),
        examples=how.get("examples", 10),
        **more,
    )

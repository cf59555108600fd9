"""The public checks: one function per kind of part, and one line for pytest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, cast

from typing_extensions import Unpack

from scope_core.errors import MissingDependencyError
from scope_core.registry.entries import Entry
from scope_core.registry.registry import Registry
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.adapters.conformance import ConformanceError
from scope_core.testing.adapters.harness import Broken
from scope_core.testing.parts.cases import Case, MakeSignal
from scope_core.testing.parts.properties import PartConformance, Property, attempt, check_subject, owed, properties_of
from scope_core.testing.parts.subject import Subject, subject_of

if TYPE_CHECKING:
    from torch import Tensor

Test = TypeVar("Test", bound=Callable[..., Any])

PartLike = str | Entry | Mapping[str, Any]
"""The name of a registered part, a table with its name and options, or an `Entry` that is not registered."""


class Decorator(Protocol):
    """What `parametrize` returns: the test stays what it is to those who check types."""

    def __call__(self, test: Test, /) -> Test:
        """Mark a test."""
        ...


class Conditions(TypedDict, total=False):
    """How a part is checked; all of it may be left out.

    Attributes:
        options: Options of the part. Required ones that are left out are guessed.
        registry: Where the part is looked up; the process' default registry if left out.
        signals: ``{family: axes or function}`` for signals that the kit does not know; see `MakeSignal`.
        tokens: Makes the tokens of a `Case`, for parts that need special ones.
        examples: How many examples are drawn for each property; 10 if left out.
    """

    options: Mapping[str, Any]
    registry: Registry
    signals: Mapping[str, MakeSignal]
    tokens: Callable[[Case], VisualTokens]
    examples: int


def check_saliency(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a saliency source; see `properties_of`. ``how`` is as in `Conditions`.

    Raises:
        ConformanceError: names every property that does not hold, with the smallest example that was found.
    """
    return check_subject(_subject("saliency", part, how), only)


def check_similarity(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a similarity metric, as `check_saliency`."""
    return check_subject(_subject("similarity", part, how), only)


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
        value: The set function itself, ``(similarity (N, N), chosen tokens) -> f``; gains are compared with it.
        only: Properties to try.
        how: As in `Conditions`.
    """
    return check_subject(_subject("coverage", part, how, value=value), only)


def check_combiner(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a combiner, as `check_saliency`."""
    return check_subject(_subject("combiner", part, how), only)


def check_optimizer(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of an optimizer, as `check_saliency`."""
    return check_subject(_subject("optimizer", part, how), only)


def check_selector(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a selector, as `check_saliency`."""
    return check_subject(_subject("selector", part, how), only)


def check_budget(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a budget, as `check_saliency`."""
    return check_subject(_subject("budget", part, how), only)


def check_partition(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a partition, as `check_saliency`."""
    return check_subject(_subject("partition", part, how), only)


def check_constraint(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a constraint, as `check_saliency`."""
    return check_subject(_subject("constraint", part, how), only)


def check_merger(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a merger, as `check_saliency`."""
    return check_subject(_subject("merger", part, how), only)


def check_position(part: PartLike, *, only: Collection[str] = (), **how: Unpack[Conditions]) -> PartConformance:
    """Try every property of a position policy, as `check_saliency`."""
    return check_subject(_subject("position", part, how), only)


def parametrize(part: PartLike, kind: str | None = None, **how: Unpack[Conditions]) -> Decorator:
    """A pytest decorator: one test case for each property that a part owes.

        @parametrize("acme.spread")
        def test_contract(check):
            check()

    Args:
        part: The part.
        kind: Kind of part, where parts of several kinds have this name.
        how: As in `Conditions`.
    """
    try:
        import pytest
    except ImportError as error:
        raise MissingDependencyError(
            f"parametrize() makes test cases for pytest: {error}. Try: pip install pytest, or use check_coverage()"
        ) from error
    subject = _subject(kind, part, how)
    cases = [pytest.param(_Check(prop, subject), id=f"{subject.record.name}-{prop.name}") for prop in owed(subject)]
    return cast(Decorator, pytest.mark.parametrize("check", cases))


class _Check:
    """One property of one part, to be called in a test."""

    def __init__(self, prop: Property, subject: Subject) -> None:
        self.prop, self.subject = prop, subject

    def __repr__(self) -> str:
        return f"{self.prop.name} of {self.subject}"

    def __call__(self) -> None:
        __tracebackhide__ = True  # the author's line is what a traceback should end at
        try:
            attempt(self.prop, self.subject)
        except Broken as reason:
            about = properties_of(self.subject.kind)
            raise ConformanceError(str(self.subject), {self.prop.name: str(reason)}, about) from reason.__cause__


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

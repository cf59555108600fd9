"""Trying examples, and finding the smallest one that violates a property."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from scope_core.errors import MissingDependencyError
from scope_core.testing.failures import PropertyViolation
from scope_core.testing.parts.cases import RICH, Case

Check = Callable[[Case], None]

MOST = 60
"""The largest number of examples that are tried to make a failing one smaller."""


def search(check: Check, *, examples: int, plain: bool = False, more: tuple[Case, ...] = ()) -> None:
    """Try ``check`` on the kit's own examples and on drawn ones, which are always the same.

    Args:
        check: Raises `PropertyViolation` if the property does not hold.
        examples: How many are drawn.
        plain: Use only examples without equal tokens, for properties that leave ties open.
        more: Additional examples.

    Raises:
        PropertyViolation: The property does not hold; gives the smallest example that was found.
        MissingDependencyError: hypothesis is not installed.
    """
    for case in (*RICH, *more, *(_drawn(examples) if examples else ())):
        if plain and case.like != "plain":
            continue
        try:
            check(case)
        except PropertyViolation as reason:
            smaller = _smallest(check, plain)
            raise smaller or PropertyViolation(f"{reason}. Example: {case}") from (smaller or reason).__cause__


@functools.lru_cache(maxsize=8)
def _drawn(examples: int) -> tuple[Case, ...]:
    """Examples drawn by hypothesis: the same for every property, so they are drawn once."""
    found: list[Case] = []
    _explore(found.append, examples, plain=False)
    return tuple(found[:examples])


def _smallest(check: Check, plain: bool) -> PropertyViolation | None:
    """The violation by the smallest example, which it names; None if no drawn example fails."""
    verdicts: dict[Case, PropertyViolation | None] = {}
    last: list[Case] = []

    def attempt(case: Case) -> None:
        if case not in verdicts:
            if len(verdicts) >= MOST:
                return
            verdicts[case] = _verdict(check, case)
        reason = verdicts[case]
        if reason is not None:
            last[:] = [case]
            raise PropertyViolation(str(reason))

    try:
        _explore(attempt, 40, plain)
    except PropertyViolation:
        reason = verdicts[last[0]]
        made = PropertyViolation(f"{reason}. Smallest example found: {last[0]}")
        made.__cause__ = reason.__cause__ if reason is not None else None
        return made
    return None


def _verdict(check: Check, case: Case) -> PropertyViolation | None:
    try:
        check(case)
    except PropertyViolation as reason:
        return reason
    return None


def _explore(attempt: Callable[[Case], Any], examples: int, plain: bool) -> None:
    """Call ``attempt`` with drawn examples; if it fails, with smaller and smaller ones that fail too.

    Raises:
        MissingDependencyError: hypothesis is not installed.
    """
    try:
        import hypothesis
        from hypothesis import strategies
    except ImportError as error:
        raise MissingDependencyError(
            f"the conformance kit looks for counterexamples with hypothesis: {error}. Try: pip install hypothesis"
        ) from error
    side = strategies.integers(1, 3)
    tiles = strategies.lists(strategies.tuples(side, side), min_size=1, max_size=2).map(tuple)
    cases = strategies.builds(
        Case,
        groups=strategies.lists(tiles, min_size=1, max_size=3).map(tuple),
        seed=strategies.integers(0, 99),
        like=strategies.just("plain") if plain else strategies.sampled_from(("plain", "twins", "zero")),
        frames=strategies.booleans(),
    )

    @hypothesis.settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=examples,
        report_multiple_bugs=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(cases)
    def drawn(case: Case) -> None:
        attempt(case)

    drawn()

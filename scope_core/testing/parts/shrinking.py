"""Trying examples, and looking for the smallest one that breaks a property."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from scope_core.errors import MissingDependencyError
from scope_core.testing.adapters.harness import Broken
from scope_core.testing.parts.cases import RICH, Case

Check = Callable[[Case], None]

MOST = 60
"""How many different examples are looked at, at most, to make a failure smaller."""


def search(check: Check, *, examples: int, plain: bool = False, more: tuple[Case, ...] = ()) -> None:
    """Try ``check`` on the kit's own examples and on drawn ones, always the same.

    Args:
        check: Raises `Broken` where the property does not hold.
        examples: How many are drawn.
        plain: Only examples without equal tokens, for properties that say nothing about ties.
        more: Tried beside the kit's own.

    Raises:
        Broken: with the smallest example that was found.
        MissingDependencyError: hypothesis is not installed.
    """
    for case in (*RICH, *more, *(_drawn(examples) if examples else ())):
        if plain and case.like != "plain":
            continue
        try:
            check(case)
        except Broken as reason:
            smaller = _smallest(check, plain)
            raise smaller or Broken(f"{reason}. Example: {case}") from (smaller or reason).__cause__


@functools.lru_cache(maxsize=8)
def _drawn(examples: int) -> tuple[Case, ...]:
    """Examples as hypothesis draws them; the same for every property, so drawn once."""
    found: list[Case] = []
    _explore(found.append, examples, plain=False)
    return tuple(found[:examples])


def _smallest(check: Check, plain: bool) -> Broken | None:
    """The failure of the smallest example, with the example; None if none of those that were drawn fails."""
    verdicts: dict[Case, Broken | None] = {}
    last: list[Case] = []

    def attempt(case: Case) -> None:
        if case not in verdicts:
            if len(verdicts) >= MOST:
                return
            verdicts[case] = _verdict(check, case)
        reason = verdicts[case]
        if reason is not None:
            last[:] = [case]
            raise Broken(str(reason))

    try:
        _explore(attempt, 40, plain)
    except Broken:
        reason = verdicts[last[0]]
        made = Broken(f"{reason}. Smallest example found: {last[0]}")
        made.__cause__ = reason.__cause__ if reason is not None else None
        return made
    return None


def _verdict(check: Check, case: Case) -> Broken | None:
    try:
        check(case)
    except Broken as reason:
        return reason
    return None


def _explore(attempt: Callable[[Case], Any], examples: int, plain: bool) -> None:
    """Call ``attempt`` with drawn examples; where it fails, with ever smaller ones that fail too.

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

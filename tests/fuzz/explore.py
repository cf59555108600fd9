"""Runs a test on random cases, and counts those that ran and those that were refused."""

from __future__ import annotations

import contextlib
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import hypothesis
from hypothesis import Phase
from hypothesis import strategies as st

import scope_core as scope

PATIENCE = 120
"""Seconds after which a case counts as hung."""


@dataclass(frozen=True)
class Amount:
    """Cases of each test, 0 for the test's own number; their seed; and whether to shrink a failing one (minutes)."""

    cases: int
    seed: int
    shrink: bool


class Refused(Exception):  # no error: an answer that a case may get
    """The case was refused in words."""


@contextlib.contextmanager
def refusing(*findings: type[scope.ScopeError]) -> Iterator[None]:
    """Around what may be refused; errors of the given kinds are findings nevertheless."""
    try:
        yield
    except scope.ScopeError as error:
        if isinstance(error, findings):
            raise
        raise Refused(f"{type(error).__name__}: {str(error)[:70]}") from error


@dataclass
class Tally:
    """The cases of one test."""

    ran: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    more: Counter[str] = field(default_factory=Counter)

    @property
    def cases(self) -> int:
        return self.ran + self.refused.total()

    def __str__(self) -> str:
        kinds = Counter[str]()
        for text, count in self.refused.items():
            kinds[text.split(":")[0]] += count
        told = "".join(f", {count} {kind}" for kind, count in kinds.most_common())
        checked = "".join(f", {count} {what}" for what, count in sorted(self.more.items()))
        return f"{self.cases} cases, {self.ran} ran{checked}; refused {self.refused.total()}{told}"


TALLIES: dict[str, Tally] = {}
"""By test, for the report."""


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Inside, whatever takes too long is interrupted."""

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"still running after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def explore(name: str, case: Callable[[Random, Tally], Any], amount: Amount, few: int) -> None:
    """Run ``case`` on random cases, ``few`` unless the amount says otherwise; half of many must run, a quarter of few.

    ``case(random, tally)`` draws a case, raises `Refused` if that is what it gets, and fails on wrong answers.
    """
    tally = TALLIES.setdefault(name, Tally())

    @hypothesis.seed(amount.seed + zlib.crc32(name.encode()))
    @hypothesis.settings(
        max_examples=amount.cases or few,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink) if amount.shrink else (Phase.generate,),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.randoms(use_true_random=not amount.shrink))  # if Hypothesis draws, it repeats itself often
    def one(source: Random) -> None:
        if not amount.shrink:  # Hypothesis draws some seeds again and again
            source = Random(f"{amount.seed} {source.getrandbits(64)}")
        with patience():
            try:
                case(source, tally)
            except Refused as refused:
                tally.refused[str(refused)] += 1
            else:
                tally.ran += 1

    one()
    enough = tally.ran * (2 if tally.cases >= 100 else 4) >= tally.cases
    assert enough, f"{tally}\n" + "\n".join(f"{count} {text}" for text, count in tally.refused.most_common(20))

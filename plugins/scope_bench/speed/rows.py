"""Numbers as cells of tables, and tables without empty columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scope_bench.accuracy.tables import Table

NOTHING = "-"


def number(value: float) -> str:
    """Three significant digits, two below 1, without an exponent."""
    if value < 0:
        return f"-{number(-value)}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 1 or value == 0:
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


def ms(value: float | None) -> str:
    """Milliseconds, or a dash."""
    return NOTHING if value is None else number(value)


def times(value: float | None) -> str:
    """A ratio, e.g. ``1.25x``, or a dash."""
    return NOTHING if value is None else f"{number(value)}x"


def sentence(text: str) -> str:
    """The text with a capital and a full stop; empty if it is."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def quartiles(spread: Mapping[str, float]) -> str:
    """The lower and the upper quartile."""
    return f"{number(spread['low'])}-{number(spread['high'])}"


def filled(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    meanings: Mapping[str, str] | None = None,
    note: str = "",
) -> Table:
    """A table without empty columns, and without their explanations."""
    filled = [k for k in range(len(columns)) if k == 0 or any(row[k] != NOTHING for row in rows)]
    kept = tuple(columns[k] for k in filled)
    texts = [text for name, text in (meanings or {}).items() if name in kept]
    return Table(title, kept, tuple(tuple(row[k] for k in filled) for row in rows), " ".join([*texts, note]).strip())

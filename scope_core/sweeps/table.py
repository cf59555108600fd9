"""`Sweep`: the table of a sweep, as rows, text, HTML, a pandas frame and a plot."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scope_core.display import card, counted, shortened, table_html
from scope_core.errors import TokensError, quoted
from scope_core.frames import frame
from scope_core.plot.curves import axes, finish


@dataclass(frozen=True, eq=False)
class Sweep:
    """The result of a sweep: one row for each spec and image.

    Attributes:
        rows: The rows. Columns: ``method`` (label without the budget), ``spec`` (whole label), ``budget``, the options
            in which the specs differ (``combiner.alpha``), ``image``, ``tokens``, ``kept``, ``coverage 0.8`` and the
            like, ``select_ms`` per image, and ``error``, which is empty unless the spec could not be run.
    """

    rows: tuple[dict[str, Any], ...]

    def __repr__(self) -> str:
        return f"Sweep({counted(len(self.rows), 'row')} of {counted(len(self._specs), 'spec')})"

    def __str__(self) -> str:
        columns, rows = self._table()
        texts = [columns, *([str(value) for value in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __add__(self, other: Sweep) -> Sweep:
        """The rows of both, e.g. of sweeps over options that not all specs have."""
        columns = dict.fromkeys(itertools.chain(*self.rows, *other.rows))
        return Sweep(tuple({column: row.get(column) for column in columns} for row in (*self.rows, *other.rows)))

    def _repr_html_(self) -> str:
        """What a notebook shows: the means over images."""
        columns, rows = self._table()
        return card("Sweep", table_html(columns, rows, 40), aside=f"{counted(len(self._images), 'image')}, means")

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows as plain data."""
        return [dict(row) for row in self.rows]

    def to_frame(self) -> Any:
        """The rows as a ``pandas.DataFrame``.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return frame(self.rows)

    def means(self) -> list[dict[str, Any]]:
        """One row for each spec: means over its images."""
        found = []
        for spec in self._specs:
            rows = [row for row in self.rows if row["spec"] == spec]
            numbers = {key for key, value in rows[0].items() if isinstance(value, (int, float)) and key in _MEASURES}
            numbers |= {key for key in rows[0] if key.startswith("coverage ") and rows[0][key] is not None}
            means = {key: statistics.fmean(row[key] for row in rows) for key in numbers}
            found.append({key: means.get(key, value) for key, value in rows[0].items() if key != "image"})
        return found

    def plot(self, y: str = "coverage 0.8", x: str = "kept", *, ax: Any = None) -> Any:
        """A line for each method, over the number of kept tokens or another column, as matplotlib axes.

        Args:
            y: Column of numbers.
            x: Column of numbers.
            ax: Axes to draw on; new ones if left out.

        Raises:
            TokensError: there is no such column of numbers.
            MissingDependencyError: matplotlib is not installed.
        """
        means = [row for row in self.means() if not row["error"]]
        for column in (x, y):
            if not all(isinstance(row.get(column), (int, float)) for row in means) or not means:
                known = [key for key, value in (means[0] if means else {}).items() if isinstance(value, (int, float))]
                raise TokensError(f"{quoted(column)} is not a column of numbers; these are: {', '.join(known)}")
        ax = axes(ax)
        for method in dict.fromkeys(row["method"] for row in means):
            points = sorted((row[x], row[y]) for row in means if row["method"] == method)
            ax.plot(*zip(*points, strict=True), marker="o", label=method)
        finish(ax, x, y)
        return ax

    @property
    def _specs(self) -> list[str]:
        return list(dict.fromkeys(row["spec"] for row in self.rows))

    @property
    def _images(self) -> list[int]:
        return list(dict.fromkeys(row["image"] for row in self.rows))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        means = self.means()
        shown = [key for key in (means[0] if means else {}) if key not in ("method", "budget")]  # both are in the label
        columns = [key for key in shown if any(row[key] not in ("", None) for row in means)]
        return columns, [[_shown(row[column]) for column in columns] for row in means]


_MEASURES = {"tokens", "kept", "select_ms"}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else shortened(str(value), 60)

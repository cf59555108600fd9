"""The report as tables, each within 80 columns, for terminals and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scope_bench.accuracy.budgets import OWN, Keep, in_words
from scope_bench.accuracy.report import Results
from scope_bench.accuracy.statistics import MIN_GROUPS

WIDTH = 80
GAP = "  "
NARROW = 12
"""Smallest width of the column of names."""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: Line above the table.
        columns: Headers.
        rows: Texts, one for each header.
        note: Sentences below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def text(self) -> str:
        """Plain text: names at the left, wrapped if the table would be too wide, and numbers at the right."""
        sizes = [max(len(row[k]) for row in (self.columns, *self.rows)) for k in range(len(self.columns))]
        room = WIDTH - sum(len(GAP) + size for size in sizes[1:])
        sizes[0] = min(sizes[0], max(room, NARROW))

        def lines(row: Sequence[str]) -> str:
            name, *more = textwrap.wrap(row[0], sizes[0], subsequent_indent=" ") or [""]
            cells = [name.ljust(sizes[0]), *(cell.rjust(size) for cell, size in zip(row[1:], sizes[1:], strict=True))]
            return "\n".join([GAP.join(cells).rstrip(), *more])

        title, note = (textwrap.fill(text, WIDTH) for text in (self.title, self.note))
        parts = [title, "", lines(self.columns), GAP.join("-" * size for size in sizes), *map(lines, self.rows)]
        return "\n".join([*parts, *(["", note] if note else [])])

    def markdown(self) -> str:
        """A Markdown table."""
        marks = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, marks, *self.rows)]
        note = textwrap.fill(self.note, 120)
        return "\n".join([f"**{self.title}**", "", *lines, *(["", note] if note else [])])


def tables(results: Results, *, details: Sequence[Keep] | None = None) -> list[Table]:
    """All tables of a report.

    Args:
        results: From `scope_bench.accuracy.report.results_of`.
        details: Budgets with tables by kind, size and control; by default all.
    """
    shown = [accuracy(results)]
    for keep in results["budgets"] if details is None else details:
        shown += [*_parts(results, keep, "kinds", "kind of question"), *_parts(results, keep, "sizes", "object size")]
        shown += [against(results, keep)] if results["controls"] else []
        shown += [kept(results, keep)]
    return shown


def accuracy(results: Results) -> Table:
    """Accuracy by method and budget: percent right, half of the interval, and a letter for the group."""
    keeps = results["budgets"]
    names = list(dict.fromkeys(run["name"] for run in results["runs"] if run["role"] != "bound"))
    groups = {
        (keep, name): "abcdefghijklmnopqrstuvwxyz"[min(number, 25)]
        for keep in keeps
        for number, tier in enumerate(results["ranking"][str(keep)])
        for name in tier
    }
    at = {(run["keep"], run["name"]): run for run in results["runs"]}

    def cell(keep: Keep, name: str) -> str:
        run = at.get((keep, name))
        return "-  " if run is None else f"{points(run)} {groups.get((keep, name), ' ')}"

    rows = [(name, *(cell(keep, name) for keep in keeps)) for name in names]
    for run in results["runs"]:
        if run["role"] == "bound" and run["keep"] is None:
            rows.append((run["name"], *[f"{points(run)}  "] * min(len(keeps), 1), *[""] * (len(keeps) - 1)))
    for name in dict.fromkeys(run["name"] for run in results["runs"] if run["role"] == "bound" and run["keep"]):
        rows.insert(len(names), (name, *(cell(keep, name) for keep in keeps)))
    return Table(
        f"{results['model']}, {results['task']} ({results['split']}): % right of {results['questions']} questions "
        f"about {results['examples']} images",
        ("tokens kept", *map(str, keeps)),
        tuple(rows),
        f"± is half of the {results['level']:.0%} interval. At one budget, methods of one letter are not separated "
        f"from the first of them.{_own(results)}{_few(results)}",
    )


def skipped(results: Results) -> str:
    """The methods that failed, each with its reason, as a list; empty if none did."""
    left_out = results.get("skipped") or []
    lines = [f"- {one['name']} at {one['keep']}: {one['why']}" for one in left_out]
    return "\n".join(["Not measured:", "", *lines]) if lines else ""


def against(results: Results, keep: Keep) -> Table:
    """Comparison of each method with each control: difference, wins, ties and losses by group of scenes."""
    rows = [
        (
            run["name"],
            control,
            signed(100 * found["difference"]),
            " .. ".join(signed(100 * bound) for bound in found["interval"]),
            f"{found['wins']}/{found['ties']}/{found['losses']}",
            "yes" if found["separated"] else "no",
        )
        for run in _at(results, keep)
        for control in results["controls"]
        for found in [results["pairs"][str(keep)][run["name"]].get(control)]
        if found is not None
    ]
    return Table(
        f"Against the controls at {in_words(keep)}, points",
        ("method", "control", "more", "interval", "win/tie/loss", "separated"),
        tuple(rows),
        f"interval: {results['level']:.0%}, of this pair alone. separated: after correction for comparing all pairs, "
        f"which is stricter.{_few(results)}",
    )


def kept(results: Results, keep: Keep) -> Table:
    """Coverage, objects kept, and times of each method."""
    thetas = [str(theta) for theta in results["thetas"]]
    found = _at(results, keep, bounds=True)
    mark = _marks(found)
    counted = isinstance(keep, str)
    rows = [
        (
            run["name"],
            *([_mean(run["kept"])] if counted else []),
            "-" if run["of_full"] is None else f"{100 * run['of_full']['share']:.1f}",
            *(_percent(None if run["coverage"] is None else run["coverage"][theta]) for theta in thetas),
            _percent(run["objects"]),
            _ms(run["select_ms"], mark[run["name"]]),
            _ms(run["first_token_ms"], mark[run["name"]]),
        )
        for run in found
    ]
    return Table(
        f"What is kept at {in_words(keep)}",
        ("method", *(["kept"] if counted else []), "% of full", *thetas, "objects", "select ms", "first ms"),
        tuple(rows),
        "Numbers at the head: theta-coverage in percent. objects: share with a kept patch. first ms: from encoded and "
        f"selected tokens to the first new one, one prompt.{EARLIER if any(mark.values()) else ''}",
    )


def _parts(results: Results, keep: Keep, group: str, about: str) -> list[Table]:
    """Accuracy by kind or by size; several tables if a single one would be too wide."""
    names = results[group]
    if len(names) < 2:
        return []
    runs = [run for run in results["runs"] if run["role"] == "bound" and run["keep"] is None]
    runs = [*_at(results, keep, bounds=True), *runs]
    wide = max(len(run["name"]) for run in runs)
    parts = []
    sizes = [max(len(name), *(len(points(run[group][name])) for run in runs)) for name in names]
    columns = _fitting([size + len(GAP) for size in sizes], WIDTH - wide)
    for first, last in columns:
        rows = [(run["name"], *(points(run[group][name]) for name in names[first:last])) for run in runs]
        rows.append(("(questions)", *(str(runs[0][group][name]["questions"]) for name in names[first:last])))
        title = f"By {about} at {in_words(keep)}, % right"
        parts.append(Table(title, ("method", *names[first:last]), tuple(rows)))
    return parts


def _fitting(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Runs of columns, ``(first, end)``, each at most as wide as ``room``."""
    runs: list[tuple[int, int]] = []
    start = 0
    for k in range(len(sizes)):
        if k > start and sum(sizes[start : k + 1]) > room:
            runs.append((start, k))
            start = k
    return [*runs, (start, len(sizes))]


def _at(results: Results, keep: Keep, *, bounds: bool = False) -> list[dict[str, Any]]:
    wanted: Callable[[dict[str, Any]], bool] = lambda run: bounds or run["role"] != "bound"  # noqa: E731
    return [run for run in results["runs"] if run["keep"] == keep and wanted(run)]


def points(found: dict[str, Any]) -> str:
    """``"82.1±1.2"``: percent right, and half of the interval."""
    low, high = found["interval"]
    return f"{100 * found['accuracy']:.1f}±{50 * (high - low):.1f}"


def signed(value: float) -> str:
    """``"+3.2"``, ``"-0.4"``; numbers that round to zero have no sign."""
    text = f"{value:+.1f}"
    return text[1:] if float(text) == 0 else text


def _few(results: Results) -> str:
    if results["groups"] >= MIN_GROUPS:
        return ""
    return f" {results['groups']} groups of images are too few to separate methods; {MIN_GROUPS} are needed."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def _ms(value: float | None, mark: str = "") -> str:
    return "-" if value is None else f"{value:.1f}{mark}"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


EARLIER = (
    " *: time of an earlier run, kept with its replies. Compare times of one run alone; --fresh measures all of them "
    "anew."
)


def _marks(runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """``{name: mark}``: a star for times that were not taken in the latest of the runs that these times are from."""
    timed = {run["name"]: set(run.get("timed") or ()) for run in runs if run["select_ms"] is not None}
    latest = max((moment for moments in timed.values() for moment in moments), default="")
    return {run["name"]: "*" if timed.get(run["name"], set()) - {latest} else "" for run in runs}


def _own(results: Results) -> str:
    """A sentence on the methods' own budgets, which differ."""
    if OWN not in results["budgets"]:
        return ""
    kept = {run["name"]: run["kept"] for run in results["runs"] if run["keep"] == OWN}
    if len({f"{count:.4g}" for count in kept.values() if count is not None}) < 2:
        return " own: each at the budget of its own spec."
    each = ", ".join(f"{name} {_mean(count)}" for name, count in kept.items())
    return f" own: each at the budget of its own spec, so they keep different numbers of tokens: {each}."

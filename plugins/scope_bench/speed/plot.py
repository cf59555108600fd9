"""The report as a figure: one panel for each section."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scope_bench.accuracy.plot import new_figure
from scope_bench.speed.of_models import made_of
from scope_bench.speed.rows import number
from scope_bench.speed.tables import CLOCKS, Report, fitted, head

SPEC, BESIDE = "C0", "0.7"
"""Colours of the user's specs, and of what they are compared with."""

FAR = 20
"""Rows that take this many times as long as the reference are written below the panel instead of drawn as bars."""


def plot(report: Report, path: Path) -> None:
    """Write a figure of all sections of the report.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    draw(report).savefig(path, metadata={"Software": None})


def draw(report: Report) -> Any:
    """The matplotlib figure; see `plot`."""
    panels: list[Callable[[Any], None]] = []
    clock = report["clock"]
    cases = report.get("select", ())
    ends = {case["tokens"]: 0.0 for case in cases}
    for case in cases:  # panels of the same size share a scale
        ends[case["tokens"]] = max(ends[case["tokens"]], *(bar.value for bar in _near(case, clock)))
    panels += [lambda axes, case=case: _select(axes, case, clock, ends[case["tokens"]]) for case in cases]  # type: ignore[misc]
    if "growth" in report:
        panels += [lambda axes, axis=axis: _growth(axes, report["growth"], axis, clock) for axis in ("tokens", "keep")]  # type: ignore[misc]
    if "capture" in report:
        panels.append(lambda axes: _capture(axes, report["capture"]))
    if "generate" in report:
        panels.append(lambda axes: _generate(axes, report["generate"]))
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure = new_figure(6.5 * columns, 3.6 * lines + 0.5)
    title = head(report).partition("\n")[0]
    if cases or "capture" in report:
        title += "; blue: specs, grey: what they are compared with"
    figure.suptitle(textwrap.fill(title, 105 * columns), fontsize=8)
    for place, paint in enumerate(panels):
        paint(figure.add_subplot(lines, columns, place + 1))
    return figure


class _Bar(NamedTuple):
    name: str
    value: float
    colour: str


def _bars(axes: Any, bars: Sequence[_Bar], end: float) -> None:
    """Draw horizontal bars from 0, each with its number."""
    drawn = axes.barh(range(len(bars)), [bar.value for bar in bars], color=[bar.colour for bar in bars])
    axes.bar_label(drawn, [number(bar.value) for bar in bars], fontsize=7, padding=2)
    _named(axes, [bar.name for bar in bars])
    axes.set_xlim(0, 1.12 * end)  # room for the longest bar's number
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _named(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 30) for name in names], fontsize=7)
    axes.invert_yaxis()


def _near(case: dict[str, Any], clock: str) -> list[_Bar]:
    """The bars that are drawn: all specs, and others that take less than `FAR` times as long as the reference."""
    timed = [(row, row[f"{clock}_ms"]["median"]) for row in case["rows"]]
    reference = max((time for row, time in timed if row["role"] == "floor"), default=0.0)
    ours = ("spec", "engine")
    most = max(FAR * reference, *(time for row, time in timed if row["role"] in ours))
    return [_Bar(row["name"], time, SPEC if row["role"] in ours else BESIDE) for row, time in timed if time <= most]


def _select(axes: Any, case: dict[str, Any], clock: str, end: float) -> None:
    bars = _near(case, clock)
    _bars(axes, bars, end)
    drawn = {bar.name for bar in bars}
    far = [row for row in case["rows"] if row["name"] not in drawn]
    texts = [f"{row['name']}: {number(row[f'{clock}_ms']['median'])} ms" for row in far]
    beyond = "".join(f"\n{line}" for line in textwrap.wrap(f"too long to draw: {'; '.join(texts)}", 90)) if far else ""
    axes.set_xlabel(f"{CLOCKS[clock]}, ms{beyond}", fontsize=8)
    axes.set_title(f"{case['keep']} of {case['tokens']} tokens", fontsize=9)


def _growth(axes: Any, grown: dict[str, Any], axis: str, clock: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    curves = [(grown[f"over_{axis}"], grown["spec"])]
    curves += [(grown["floor"], grown["floor"]["name"])] if axis == "tokens" and grown["floor"] else []
    for curve, name in curves:
        spots = curve["points"]
        times = [spot[f"{clock}_ms"]["median"] for spot in spots]
        label = "\n".join(filter(None, (name, fitted(curve, axis, clock))))
        axes.plot([spot[axis] for spot in spots], times, marker="o", markersize=4, label=label)
    sizes = [spot[axis] for spot in grown[f"over_{axis}"]["points"]]
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, list(map(str, sizes)), fontsize=8)
    # the same range of times in both panels, in plain numbers
    every = [spot for name in ("over_tokens", "over_keep", "floor") if grown[name] for spot in grown[name]["points"]]
    times = [spot[f"{clock}_ms"]["median"] for spot in every]
    axes.set_ylim(min(times) / 1.5, max(times) * 1.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("tokens N" if axis == "tokens" else "tokens kept K", fontsize=8)
    axes.set_ylabel(f"{CLOCKS[clock]}, ms", fontsize=8)
    over, fixed = ("N", f"K = {grown['over_tokens']['keep']}"), ("K", f"N = {grown['over_keep']['tokens']}")
    letter, other = over if axis == "tokens" else fixed
    axes.set_title(f"time over {letter} ({other})", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left" if axis == "tokens" else "lower right")


def _capture(axes: Any, capture: dict[str, Any]) -> None:
    bars = [
        _Bar(
            row["name"],
            row["tower_ms"]["median"] + row["read_ms"]["median"],
            BESIDE if row["captured"] is None else SPEC,
        )
        for row in capture["rows"]
    ]
    _bars(axes, bars, max(bar.value for bar in bars))
    axes.set_xlabel(f"{CLOCKS[capture['clock']]}, ms: tower and reading", fontsize=8)
    axes.set_title(f"reading signals in the tower of {capture['model']}", fontsize=9)


def _generate(axes: Any, generated: dict[str, Any]) -> None:
    rows = generated["rows"]
    left = [0.0] * len(rows)
    for part in ("tower", "project", "pack", "select", "own", "LLM"):
        values = [made_of(row)[part] or 0.0 for row in rows]
        axes.barh(range(len(rows)), values, left=left, label="language model" if part == "LLM" else part)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for place, row in enumerate(rows):
        first = row["first_ms"]["median"]
        end = max(first, row.get("ideal_ms", 0.0), left[place]), place
        text = f"{number(first)} (ideal {number(row['ideal_ms'])})" if "reached" in row else number(first)
        axes.annotate(text, end, (4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.margins(x=0.15)
    ideals = [(place, row["ideal_ms"]) for place, row in enumerate(rows) if "reached" in row]
    for place, ideal in ideals:
        label = "ideal" if place == ideals[0][0] else None
        axes.plot([ideal] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.2, label=label)
    _named(axes, [row["name"] for row in rows])
    axes.set_xlabel(f"{CLOCKS[generated['clock']]} to the first token, ms", fontsize=8)
    axes.set_title(generated["model"], fontsize=9)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))

"""The report as a picture: one panel for each section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scope_core.bench.speed.tables import Report, head
from scope_core.errors import MissingDependencyError


def plot(report: Report, path: Path) -> None:
    """Write a picture of whatever sections there are.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the plot needs matplotlib: pip install 'scope-core[bench]'; tables and JSON do without"
        ) from error
    panels: list[Callable[[Any], None]] = []
    clock = report["clock"]
    if "select" in report:
        panels += [lambda axes, case=case: _select(axes, case, clock) for case in report["select"]]  # type: ignore[misc]
    if "growth" in report:
        panels += [lambda axes, axis=axis: _growth(axes, report["growth"], axis, clock) for axis in ("tokens", "keep")]  # type: ignore[misc]
    if "capture" in report:
        panels.append(lambda axes: _capture(axes, report["capture"]))
    if "generate" in report:
        panels.append(lambda axes: _generate(axes, report["generate"]))
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(6.5 * columns, 3.6 * lines + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(head(report).partition("\n")[0], fontsize=8)
    for number, draw in enumerate(panels):
        draw(figure.add_subplot(lines, columns, number + 1))
    figure.savefig(path, metadata={"Software": None})


def _bars(axes: Any, names: list[str], values: list[float], title: str, label: str) -> None:
    axes.barh(range(len(names)), values, color=[f"C{k % 10}" for k in range(len(names))])
    axes.set_yticks(range(len(names)), [name[:34] for name in names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(label, fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.grid(axis="x", alpha=0.3)


def _select(axes: Any, case: dict[str, Any], clock: str) -> None:
    rows = case["rows"]
    times = [row[f"{clock}_ms"]["median"] for row in rows]
    _bars(axes, [row["name"] for row in rows], times, f"{case['keep']} of {case['tokens']} tokens", f"{clock} ms")


def _growth(axes: Any, grown: dict[str, Any], axis: str, clock: str) -> None:
    for curve, name in ((grown[f"over_{axis}"], grown["spec"]), (grown["floor"], grown["floor"]["name"])):
        if axis == "tokens" or curve is not grown["floor"]:
            power = "" if curve["exponent"] is None else f" (exponent {curve['exponent']:.2f})"
            spots = curve["points"]
            times = [spot[f"{clock}_ms"]["median"] for spot in spots]
            axes.plot([spot[axis] for spot in spots], times, marker="o", markersize=4, label=name + power)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("tokens N" if axis == "tokens" else "tokens kept K", fontsize=8)
    axes.set_ylabel(f"{clock} ms", fontsize=8)
    fixed = f"K = {grown['over_tokens']['keep']}" if axis == "tokens" else f"N = {grown['over_keep']['tokens']}"
    axes.set_title(f"growth, {fixed}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _capture(axes: Any, capture: dict[str, Any]) -> None:
    rows = capture["rows"]
    values = [row["tower_ms"]["median"] + row["read_ms"]["median"] for row in rows]
    _bars(
        axes,
        [row["name"] for row in rows],
        values,
        f"tower of {capture['model']}",
        f"{capture['clock']} ms, tower and reading",
    )
    axes.set_xscale("linear")


def _generate(axes: Any, made: dict[str, Any]) -> None:
    names = [row["name"] for row in made["rows"]]
    left = [0.0] * len(names)
    for part in ("tower", "projector", "select", "own", "generate"):
        values = [row.get(f"{part}_ms", {"median": 0.0})["median"] for row in made["rows"]]
        if part == "generate":  # the unpruned call runs tower and projector inside it
            inner = [sum(row[f"{p}_ms"]["median"] for p in ("tower", "projector")) for row in made["rows"]]
            values = [v - i if "reached" not in r else v for v, i, r in zip(values, inner, made["rows"], strict=True)]
        axes.barh(range(len(names)), values, left=left, label="language model" if part == "generate" else part)
        left = [a + b for a, b in zip(left, values, strict=True)]
    for number, row in enumerate(made["rows"]):
        if "reached" in row:
            axes.plot([row["ideal_ms"]] * 2, [number - 0.4, number + 0.4], color="black", linewidth=1.2)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(f"{made['clock']} ms to the first token; the black line is the ideal", fontsize=8)
    axes.set_title(made["model"], fontsize=9)
    axes.legend(fontsize=7)

"""Figure of accuracy against budget."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from scope_bench.accuracy.report import Results
from scope_core import MissingDependencyError

BOUND = "0.35"
"""The grey of bounds."""


def plot(
    results: Results, path: Path, *, colours: Mapping[str, Any] | None = None, without: Collection[str] = ()
) -> None:
    """Write a figure: one line for each method, with its intervals; bounds are dashed.

    Args:
        results: From `scope_bench.accuracy.report.results_of`.
        path: Path of the file.
        colours: Matplotlib colours of some methods; the others get different ones.
        without: Methods to leave out.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    draw(results, colours=colours, without=without).savefig(path, metadata={"Software": None})


def draw(results: Results, *, colours: Mapping[str, Any] | None = None, without: Collection[str] = ()) -> Any:
    """The matplotlib figure; see `plot`."""
    runs = [run for run in results["runs"] if run["name"] not in without]
    figure = new_figure(9, 5.2)
    axes = figure.add_subplot()
    drawn = [run for run in runs if run["keep"] is not None and _tokens(run) is not None]
    lines = {run["name"]: run["role"] for run in drawn}
    painted = _colours([name for name, role in lines.items() if role != "bound"], colours or {})
    for number, (name, role) in enumerate(lines.items()):
        points = sorted((run for run in drawn if run["name"] == name), key=_tokens)
        style: dict[str, Any] = {"color": painted.get(name, BOUND), "marker": "osD^vPX*<>"[number % 10]}
        dashes = {"bound": "--", "control": ":"}.get(role, "-")
        low, high = zip(*(run["interval"] for run in points), strict=True)
        keeps = [_tokens(run) for run in points]
        shares = [100 * run["accuracy"] for run in points]
        axes.plot(keeps, shares, dashes, label=name, markersize=4, **style)
        axes.fill_between(keeps, [100 * x for x in low], [100 * x for x in high], alpha=0.12, color=style["color"])
    axes.set_xscale("log", base=2)
    counts = [keep for keep in results["budgets"] if isinstance(keep, int)]
    ticks = sorted({*counts, *(round(_tokens(run) or 0) for run in drawn if isinstance(run["keep"], str))} - {0})
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    least, most = min(ticks, default=1), max(ticks, default=1)
    wide = max(math.log2(most / least), 1)
    axes.set_xlim(least * 2 ** (-0.2 * wide), most * 2 ** (0.05 * wide))  # room for names at the left
    _levels(axes, runs)
    axes.set(xlabel="visual tokens kept", ylabel="% of questions answered right")
    about = f"{results['model']}, {results['task']} ({results['split']}), {results['questions']} questions"
    how = f"bands: {results['level']:.0%} intervals; dotted lines: controls; dashed lines: bounds"
    axes.set_title(f"{about}\n{how}", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right upper")
    return figure


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of this size in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the plot needs matplotlib: pip install matplotlib; tables and JSON work without it"
        ) from error
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tokens(run: Mapping[str, Any]) -> Any:
    """Tokens kept: the budget if it is a number, else the mean of what was kept; None if unknown."""
    return run["keep"] if isinstance(run["keep"], int) else run["kept"]


def _colours(names: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """A different colour for each name, except the grey of bounds."""
    from matplotlib import colormaps

    left = [name for name in names if name not in given]
    tens = [f"C{number}" for number in range(10) if number != 7]  # C7 is grey
    rainbow = colormaps["turbo"]
    many = [rainbow((number + 0.5) / len(left)) for number in range(len(left))]
    return {**given, **dict(zip(left, tens if len(left) <= len(tens) else many, strict=False))}


def _levels(axes: Any, runs: Iterable[Mapping[str, Any]]) -> None:
    """Draw rows without a budget as horizontal lines, with names at the left end that do not overlap."""
    levels = sorted((100 * run["accuracy"], run["name"]) for run in runs if run["keep"] is None)
    for height, _ in levels:
        axes.axhline(height, color=BOUND, linewidth=0.8, linestyle="--")
    axes.margins(y=0.06)
    low, high = axes.get_ylim()
    low, high = (min([low, *(height - 0.05 * (high - low) for height, _ in levels)]), high)
    axes.set_ylim(low, high)
    at = low
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    for height, name in levels:
        at = max(height, at + 0.04 * (high - low))
        axes.text(0.01, at, name, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=BOUND, bbox=box)

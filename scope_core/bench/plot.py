"""Accuracy against budget as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scope_core.bench.report import Results
from scope_core.errors import MissingDependencyError


def plot(results: Results, path: Path) -> None:
    """Write a picture: one line for each strategy with its intervals, bounds dashed.

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
    figure = Figure(figsize=(8, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines = list(dict.fromkeys((run["name"], run["role"]) for run in results["runs"] if run["keep"] is not None))
    for number, (name, role) in enumerate(lines):
        points = [run for run in results["runs"] if run["name"] == name and run["keep"] is not None]
        style: dict[str, Any] = {"color": f"C{number % 10}", "marker": "osD^vPX*"[number % 8], "markersize": 4}
        dashes = {"bound": "--", "control": ":"}.get(role, "-")
        low, high = zip(*(run["interval"] for run in points), strict=True)
        keeps = [run["keep"] for run in points]
        axes.plot(keeps, [100 * run["accuracy"] for run in points], dashes, label=name, **style)
        axes.fill_between(keeps, [100 * x for x in low], [100 * x for x in high], alpha=0.12, color=style["color"])
    for run in results["runs"]:
        if run["keep"] is None:
            axes.axhline(100 * run["accuracy"], color="grey", linewidth=0.8, linestyle="-.")
            axes.annotate(
                run["name"],
                (1, 100 * run["accuracy"]),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color="grey",
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(results["budgets"], list(map(str, results["budgets"])))
    axes.minorticks_off()
    axes.set(xlabel="visual tokens kept", ylabel="% of questions answered right")
    axes.set_title(f"{results['model']}, {results['task']} ({results['split']}), {results['questions']} questions")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Software": None})

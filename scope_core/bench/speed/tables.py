"""The report as tables, each within 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scope_core.bench.tables import Table

Report = dict[str, Any]
SELECTED = (
    "of floor: time over that of the cosine matrix alone. vs loop: how many times faster than the plain loop. "
    "vs peer: how many times faster the engine is than this library, both on the same ready matrix and without "
    "saliency. same: picks in common with the plain loop (peers: with the engine), in order."
)
NAME = 34
"""Names are cut to so many characters."""


def tables(report: Report) -> list[Table]:
    """All tables of a report, in the order of its sections."""
    made = [selected(case, report["clock"]) for case in report.get("select", ())]
    if made:
        made[-1] = replace(made[-1], note=SELECTED)
    made += growth(report["growth"], report["clock"]) if "growth" in report else []
    made += [captured(report["capture"])] if "capture" in report else []
    made += generated(report["generate"]) if "generate" in report else []
    return made


def head(report: Report) -> str:
    """What it was measured on, in a few lines."""
    facts = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    where = facts["accelerator"] or f"{facts['processor']}, {facts['cores']} cores"
    load = "" if facts["load"] is None else f", load {facts['load']}"
    return (
        f"{where}; torch on {facts['threads']} thread(s) of {facts['device']}{load}; {report['clock']} time, "
        f"allocator {report['allocator']}\n{versions}"
    )


def selected(case: Mapping[str, Any], clock: str) -> Table:
    """One size and budget: everybody's time, and how it compares."""
    key = f"{clock}_ms"
    rows = []
    for row in case["rows"]:
        against = row["engine_is_faster"]
        rows.append(
            (
                row["name"][:NAME],
                number(row[key]["median"]),
                _quartiles(row[key]),
                f"{number(row['of_floor'])}x",
                "-" if row["faster_than_loop"] is None else f"{number(row['faster_than_loop'])}x",
                "-" if against is None else f"{number(against)}x",
                "-" if row["same_picks"] is None else f"{row['same_picks']}",
            )
        )
    return Table(
        f"Selecting {case['keep']} of {case['tokens']} tokens of width {case['width']}",
        ("", "ms", "quartiles", "of floor", "vs loop", "vs peer", "same"),
        tuple(rows),
    )


def growth(grown: Mapping[str, Any], clock: str) -> list[Table]:
    """Both curves."""
    key = f"{clock}_ms"
    over, floor, budget = grown["over_tokens"], grown["floor"], grown["over_keep"]
    rows = [
        (str(one["tokens"]), number(one[key]["median"]), number(two[key]["median"]))
        for one, two in zip(over["points"], floor["points"], strict=True)
    ]
    by_keep = [(str(one["keep"]), number(one[key]["median"]), _quartiles(one[key])) for one in budget["points"]]
    return [
        Table(
            f"{grown['spec']}: {over['keep']} of N tokens",
            ("N", "ms", "cosine matrix alone"),
            tuple(rows),
            f"Fitted: time ~ N^{_power(over['exponent'])}; the matrix alone ~ N^{_power(floor['exponent'])}.",
        ),
        Table(
            f"{grown['spec']}: K of {budget['tokens']} tokens",
            ("K", "ms", "quartiles"),
            tuple(by_keep),
            f"Fitted: time ~ K^{_power(budget['exponent'])}.",
        ),
    ]


def captured(capture: Mapping[str, Any]) -> Table:
    """The tower, with and without reading signals."""
    rows = [
        (
            row["name"][:46],
            number(row["tower_ms"]["median"]),
            "-" if row["captured"] is None else number(row["read_ms"]["median"]),
            f"{100 * row['of_plain']:.1f}%",
            "-" if row["captured"] is None else f"{100 * row['captured']:.2f}%",
        )
        for row in capture["rows"]
    ]
    return Table(
        f"Reading signals in the tower of {capture['model']}",
        ("", "tower ms", "read ms", "of plain", "capture"),
        tuple(rows),
        "Pruned calls skip the tower's layers that nobody reads. of plain: tower and reading over the tower as the "
        "model calls it. capture: reading alone, likewise.",
    )


def generated(made: Mapping[str, Any]) -> list[Table]:
    """Time to the first token, and what it is made of."""
    rows, parts = [], []
    for row in made["rows"]:
        pruned = "reached" in row
        rows.append(
            (
                row["name"][:NAME],
                str(row["prompt"]),
                number(row["first_ms"]["median"]),
                number(row["ideal_ms"]) if pruned else "-",
                f"{row['speedup']:.2f}x" if pruned else "-",
                f"{100 * row['reached']:.1f}%" if pruned else "-",
                f"{row['kv_bytes'] / 2**20:.1f}",
                "-" if row["step_ms"] is None else number(row["step_ms"]),
            )
        )
        parts.append(
            (
                row["name"][:NAME],
                number(row["tower_ms"]["median"]),
                number(row["projector_ms"]["median"]),
                number(row["select_ms"]["median"]) if pruned else "-",
                number(row["generate_ms"]["median"]),
                number(row["own_ms"]["median"]) if pruned else "-",
                f"{100 * row['own_share']:.2f}%" if pruned else "-",
            )
        )
    about = f"{made['model']}, {made['parameters'] / 1e6:.0f}M parameters in {made['dtype']}, batch {made['batch']}"
    return [
        Table(
            f"Time to the first token: {about}",
            ("", "prompt", "first ms", "ideal", "faster", "of ideal", "KV MiB", "step ms"),
            tuple(rows),
            "ideal: the model's own tower and projector, and a text as long as the pruned prompt: selection free. "
            f"of ideal: share of the ideal speed-up that is reached. {made['notes']}".strip(),
        ),
        Table(
            f"What it is made of, ms: {made['model']}",
            ("", "tower", "project", "select", "LLM", "own", "of LLM"),
            tuple(parts),
            "LLM: inside the model's own generate (unpruned, with tower and projector). own: everything else that a "
            "pruned call does.",
        ),
    ]


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _quartiles(spread: Mapping[str, float]) -> str:
    return f"{number(spread['low'])}-{number(spread['high'])}"


def _power(exponent: float | None) -> str:
    return "?" if exponent is None else f"{exponent:.2f}"


def markdown(report: Report, made: Sequence[Table]) -> str:
    """The head and all tables as Markdown."""
    return "\n\n".join([head(report).replace("\n", "; "), *(table.markdown() for table in made)]) + "\n"

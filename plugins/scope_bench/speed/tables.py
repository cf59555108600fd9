"""The report as tables, each within 80 columns; empty columns are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scope_bench.accuracy.tables import Table
from scope_bench.speed.batches import ALONE, TOGETHER
from scope_bench.speed.growth import exponent, larger
from scope_bench.speed.of_models import captured, generated
from scope_bench.speed.profile import MEANINGS
from scope_bench.speed.rows import NOTHING, filled, ms, number, quartiles, times
from scope_bench.speed.versus import OURS, THEIRS

Report = dict[str, Any]
CLOCKS = {"wall": "wall time", "cpu": "processor time"}
ALLOCATORS = {"warm": "freed memory is kept", "fresh": "freed memory goes back to the system"}


def tables(report: Report) -> list[Table]:
    """All tables of a report, in the order of its sections."""
    shown = [selected(case, report["clock"]) for case in report.get("select", ())]
    if shown:
        given = any(row["role"] == "engine" for case in report["select"] for row in case["rows"])
        legend = _selected_legend({name for table in shown for name in table.columns}, given)
        shown[-1] = replace(shown[-1], note=legend)
    shown += growth(report["growth"], report["clock"]) if "growth" in report else []
    shown += [beside_published(one) for one in report.get("published", ())]
    shown += [batched(report["batches"])] if "batches" in report else []
    shown += profiled(report["profile"]) if "profile" in report else []
    shown += [captured(report["capture"])] if "capture" in report else []
    shown += generated(report["generate"]) if "generate" in report else []
    return shown


def head(report: Report) -> str:
    """The machine and its software, in two lines."""
    facts = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    where = facts["accelerator"] or f"{facts['processor']}, {facts['cores']} cores"
    where += f", {facts['instructions']}" if facts.get("instructions") and not facts["accelerator"] else ""
    load = "" if facts["load"] is None else f" (load average when it began: {facts['load']:.1f})"
    threads = f"{facts['threads']} thread" + "s" * (facts["threads"] != 1)
    return (
        f"{where}{load}; torch with {threads} on {facts['device']}; {CLOCKS[report['clock']]}; "
        f"{ALLOCATORS[report['allocator']]} (--allocator {report['allocator']})\n"
        f"{versions}{', without numba' if lacks_numba(report) else ''}"
    )


def lacks_numba(report: Report) -> bool:
    """True if kernels on the CPU could not run for want of numba."""
    return report["machine"]["device"] == "cpu" and "numba" not in report["machine"]["versions"]


def selected(case: Mapping[str, Any], clock: str) -> Table:
    """Times and ratios of one size and budget."""
    key = f"{clock}_ms"
    rows = [
        (
            row["name"],
            number(row[key]["median"]),
            quartiles(row[key]),
            times(row["of_floor"]),
            times(row["faster_than_loop"]),
            times(row["engine_is_faster"]),
            NOTHING if row["same_picks"] is None else f"{row['same_picks']}",
        )
        for row in case["rows"]
    ]
    title = f"Selecting {case['keep']} of {case['tokens']} tokens of width {case['width']}"
    return filled(title, ("", "ms", "quartiles", "of ref", "vs loop", "vs library", "same"), rows)


def _selected_legend(columns: set[str], given: bool) -> str:
    libraries, loop = "vs library" in columns, "vs loop" in columns
    sentences = []
    if "of ref" in columns:
        sentences.append(
            "of ref: time over that of the reference, the cosine matrix of all tokens alone; a selection that computes "
            "half of that symmetric matrix and mirrors it can take less."
        )
    if given:
        sentences.append(
            "matrix given: the engine, greedy by coverage alone on a ready matrix, without saliency; not a whole "
            "selection."
        )
    if loop:
        sentences.append("vs loop: how many times faster than the plain loop.")
    if libraries:
        sentences.append(
            "vs library: how many times faster the engine is than this library, both with the matrix given."
        )
    if "same" in columns and loop:
        sentences.append(
            f"same: picks in common with the plain loop{' (libraries: with the engine)' * libraries}, in order."
        )
    elif "same" in columns:
        sentences.append("same: picks that a library has in common with the engine, in order.")
    if "same" in columns and libraries:
        sentences.append(
            "A library may have fewer: it settles ties its own way and adds float32 numbers in its own order."
        )
    return " ".join(sentences)


def growth(grown: Mapping[str, Any], clock: str) -> list[Table]:
    """Both curves as tables."""
    key = f"{clock}_ms"
    over, floor, budget = grown["over_tokens"], grown["floor"], grown["over_keep"]
    rows = [
        (str(one["tokens"]), number(one[key]["median"]), number(two[key]["median"]) if two else NOTHING)
        for one, two in zip(over["points"], floor["points"] if floor else [None] * len(over["points"]), strict=True)
    ]
    fits = {"time": fitted(over, "tokens", clock)}
    if floor:
        fits["the matrix alone"] = fitted(floor, "tokens", clock)
    by_keep = [(str(one["keep"]), number(one[key]["median"]), quartiles(one[key])) for one in budget["points"]]
    return [
        filled(
            f"{grown['spec']}: {over['keep']} of N tokens",
            ("N", "ms", floor["name"] if floor else ""),
            rows,
            note=_fits(fits),
        ),
        Table(
            f"{grown['spec']}: K of {budget['tokens']} tokens",
            ("K", "ms", "quartiles"),
            tuple(by_keep),
            _fits({"time": fitted(budget, "keep", clock)}),
        ),
    ]


def profiled(found: Mapping[str, Any]) -> list[Table]:
    """One table a size: stages in the order of a call, budgets beside each other, and what stages mean."""
    made = []
    for size in dict.fromkeys(entry["tokens"] for entry in found["entries"]):
        entries = [entry for entry in found["entries"] if entry["tokens"] == size]
        rows = [(stage, *(ms(entry["ms"].get(stage)) for entry in entries)) for stage in entries[0]["ms"]]
        columns = ("stage, ms", *(f"K = {entry['keep']}" for entry in entries))
        made.append(Table(f"{found['spec']}: {size} tokens of width {found['width']}", columns, tuple(rows), ""))
    stages = {stage for entry in found["entries"] for stage in entry["ms"]}
    legend = "; ".join(f"{stage}: {text}" for stage, text in MEANINGS.items() if stage in stages)
    return [*made[:-1], replace(made[-1], note=f"{legend}.")] if made else []


def beside_published(found: Mapping[str, Any]) -> Table:
    """Recipes beside the plain loops of their formulas."""
    rows = []
    for row in found["rows"]:
        ours, theirs = (row["ms"][side] for side in (OURS, THEIRS))
        rows.append(
            (row["name"], str(row["keep"]), number(theirs), number(ours), times(theirs / ours), f"{row['same']}")
        )
    return Table(
        f"Recipes beside plain loops of their formulas: {found['tokens']} tokens of width {found['width']}",
        ("", "K", f"{THEIRS}, ms", f"{OURS}, ms", "faster", "same"),
        tuple(rows),
        "as published: the formula in plain torch, without any check, on the same tensors, merged rows included. "
        "faster: its time over that of the recipe. same: rows that both keep; rounding decides ties.",
    )


def batched(found: Mapping[str, Any]) -> Table:
    """One call for all groups beside a call for each."""
    rows = []
    for row in found["rows"]:
        together, alone = (row["ms"][way] for way in (TOGETHER, ALONE))
        of = "ragged" if row["ragged"] else "equal"
        count = str(row["tokens"])
        rows.append((count, str(row["groups"]), of, number(together), number(alone), times(alone / together)))
    return Table(
        f"{found['spec']}: {found['keep']} tokens of each group, of width {found['width']}",
        ("N", "groups", "sizes", f"{TOGETHER}, ms", f"{ALONE}, ms", "faster"),
        tuple(rows),
        "ragged: groups of N, 7/8, 6/8 and 5/8 of N tokens by turns, padded for one call. faster: the time of a call "
        "each over that of one call.",
    )


def fitted(curve: Mapping[str, Any], axis: str, clock: str) -> str:
    """``"over all: N^1.27; from N = 1152: N^1.98"``: exponents over all sizes and over the larger half.

    Empty for a single size.
    """
    letter = "N" if axis == "tokens" else "K"
    sizes = [point[axis] for point in curve["points"]]
    times = [point[f"{clock}_ms"]["median"] for point in curve["points"]]
    power, upper = exponent(sizes, times), larger(sizes, times)
    fits = [] if power is None else [f"over all: {letter}^{power:.2f}"]
    fits += [] if upper is None else [f"from {letter} = {upper['from']}: {letter}^{upper['exponent']:.2f}"]
    return "; ".join(fits)


def _fits(found: Mapping[str, str]) -> str:
    """Sentences about the fitted exponents."""
    return " ".join(f"Fitted to {name}, {fit}." for name, fit in found.items() if fit)


def markdown(report: Report, shown: Sequence[Table]) -> str:
    """The head and all tables as Markdown."""
    return "\n\n".join([head(report).replace("\n", "; "), *(table.markdown() for table in shown)]) + "\n"

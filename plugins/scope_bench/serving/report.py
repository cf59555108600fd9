"""The report: medians over rounds, a table of at most 80 columns, and what it means in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from scope_bench.accuracy.plot import new_figure

Rows = Sequence[Mapping[str, Any]]
NOISE = 0.03
"""Differences below this share are not called a gain or a loss."""


def summarized(measured: Mapping[str, Mapping[int, Rows]]) -> list[dict[str, Any]]:
    """One row for each number of clients and engine: medians over rounds.

    Args:
        measured: For each engine ("all" and the spec), the rounds of each number of clients.
    """
    engines = list(measured)
    rows = []
    for clients in measured[engines[0]]:
        first = None
        for engine in engines:
            rounds = measured[engine][clients]
            row = {name: median(float(one[name]) for one in rounds) for name in rounds[0]}
            first = first or row["requests_per_s"]
            row["selection_share"] = row["selection_s"] / row["encoder_s"] if row["encoder_s"] else 0.0
            rows.append({**row, "clients": clients, "engine": engine, "times": row["requests_per_s"] / first})
    return rows


def table(rows: Rows) -> str:
    """The rows as text, 79 columns wide at most; times in ms, encoder and selection in s."""
    lines = [_line("clients", "keeps", "req/s", "x", "TTFT (p95)", "TPOT", "KV", "encoder", "select")]
    for row in rows:
        lines.append(
            _line(
                str(row["clients"]),
                row["engine"] if len(row["engine"]) <= 14 else f"{row['engine'][:13]}…",
                f"{row['requests_per_s']:.3g}",
                f"{row['times']:.2f}",
                f"{row['ttft_ms_median']:.0f} ({row['ttft_ms_p95']:.0f})",
                f"{row['tpot_ms_median']:.1f}",
                f"{row['kv_peak']:.0%}",
                f"{row['encoder_s']:.2f}",
                f"{row['selection_share']:.1%}",
            )
        )
    lines.append("req/s: requests per second; x: times those of the engine that keeps all;")
    lines.append("TTFT, TPOT: ms to the first token, and for each further one; KV: peak use of")
    lines.append("the cache; encoder: its seconds; select: the share of selection in them")
    return "\n".join(lines)


def verdict(rows: Rows) -> list[str]:
    """What the rows mean, in sentences."""
    said = []
    for row in (row for row in rows if row["engine"] != "all"):
        times, clients = row["times"], f"{row['clients']} client{'s' * (row['clients'] != 1)}"
        if times < 1 - NOISE:
            said.append(
                f"Pruning does not pay with {clients}: {times:.2f} times the requests per second. {_cause(row, rows)}"
            )
        elif times <= 1 + NOISE:
            said.append(f"Pruning makes no difference with {clients}: {times:.2f} times the requests per second.")
        else:
            said.append(f"Pruning pays with {clients}: {times:.2f} times the requests per second.")
    return said


def draw(rows: Rows, path: Path) -> None:
    """Write a figure: requests per second, and time to the first token, over the number of clients.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure(9, 3.6)
    for place, (name, label) in enumerate(
        (("requests_per_s", "requests per second"), ("ttft_ms_median", "ms to the first token (median)")), 1
    ):
        axes = figure.add_subplot(1, 2, place)
        for engine, colour in zip(dict.fromkeys(row["engine"] for row in rows), ("0.6", "C0"), strict=True):
            mine = [row for row in rows if row["engine"] == engine]
            axes.plot(
                [str(row["clients"]) for row in mine], [row[name] for row in mine], "o-", color=colour, label=engine
            )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("clients")
        axes.set_ylabel(label)
        axes.legend()
    figure.savefig(path)


def _cause(row: Mapping[str, Any], rows: Rows) -> str:
    full = next(one for one in rows if one["engine"] == "all" and one["clients"] == row["clients"])
    if row["selection_share"] > 0.2:
        return f"Selection takes {row['selection_share']:.0%} of the encoder's time; try a cheaper recipe."
    if full["encoder_s"] > 0.5 * full["wall_s"]:
        return "The encoder, which reads every patch in any case, takes most of the time."
    return "The prompts are a small part of the work; longer answers gain little from pruning."


def _line(*cells: str) -> str:
    first, name, *others = cells
    widths = (6, 5, 13, 6, 4, 8, 6)
    return " ".join(
        [f"{first:>7}", f"{name:<14}", *(f"{cell:>{width}}" for cell, width in zip(others, widths, strict=True))]
    )

"""The table of docs/video-methods.md, from docs/evidence/video/results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
SHARES = (25, 10, 5)
COLUMNS = ("objects 25%", "10%", "5%", "events 25%", "10%", "5%", "coverage", "repeated", "s")


def table() -> str:
    """A row for each method; a dash where it does not keep the budget."""
    made = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [f"| method | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for method in dict.fromkeys(row["method"] for row in made["summary"]):
        found = {row["share"]: row for row in made["summary"] if row["method"] == method}
        exact = {s: row for s, row in found.items() if round(row["kept"]) == round(made["tokens"] * s / 100)}
        cells = [_interval(exact.get(share), key) for key in ("objects", "events") for share in SHARES]
        cells += [_plain(exact.get(10), key) for key in ("coverage", "repeated", "seconds")]
        name = "label oracle" if method == "oracle" else f"`{method}`"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    things = f"{len(made['clips'])} clips, {sum(len(clip['events']) for clip in made['clips'])} events."
    return "\n".join([things, "", *lines]) + "\n"


def _interval(row: dict[str, Any] | None, key: str) -> str:
    if row is None:
        return "-"
    low, high = (round(100 * end) for end in row[f"{key}_95"])
    return f"{row[key]:.0%} ({low}-{high})" if low != high else f"{row[key]:.0%}"


def _plain(row: dict[str, Any] | None, key: str) -> str:
    if row is None or key not in row:
        return "-"
    return f"{row[key]:.1f}" if key == "seconds" else f"{row[key]:.0%}"

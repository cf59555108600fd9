"""The table of docs/video-methods.md, from docs/evidence/video/results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
SHARES = (25, 10, 5)
COLUMNS = (
    *("objects 25%", "10%", "5%", "events 25%", "10%", "5%", "objects by rows", "events by rows"),
    *("steady", "coverage", "repeated", "s"),
)


def table() -> str:
    """A row for each method; a dash where it does not keep the budget."""
    made = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [f"| method | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for method in dict.fromkeys(row["method"] for row in made["summary"]):
        found = {row["share"]: row for row in made["summary"] if row["method"] == method}
        exact = {s: row for s, row in found.items() if abs(row["kept"] - made["tokens"] * s / 100) <= 1}
        cells = [_interval(exact.get(share), key) for key in ("objects", "events") for share in SHARES]
        of_ten = exact.get(10)
        cells += [_interval(of_ten, key) for key in ("objects_rows", "events_rows", "stable", "coverage", "repeated")]
        cells.append("-" if of_ten is None or "seconds" not in of_ten else f"{of_ten['seconds']:.2f}")
        name = "label oracle" if method == "oracle" else f"`{method}`"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    clips, ground = made["clips"], [clip["still"] for clip in made["clips"] if not clip["pan"]]
    counts = [sum(len(clip[kind]) for clip in clips) for kind in ("events", "changes")]
    things = (
        f"{len(clips)} clips, {counts[0]} first appearances and {counts[1]} changes.\nIn the {len(ground)} clips that "
        f"do not pan, {sum(ground) / len(ground):.0%} of the patches are as in the frame before."
    )
    return "\n".join([things, "", *lines]) + "\n"


def asked() -> str:
    """The embedded model's answers about several frames, from asked.json."""
    made: dict[str, Any] = json.loads(RESULTS.with_name("asked.json").read_text(encoding="utf-8"))
    lines = ["| method | right | yes, if a frame shows it | no, if none does |", "|---|---:|---:|---:|"]
    for name, row in made["rows"].items():
        lines.append(f"| {name} | {row['right']:.0%} | {row['yes']:.0%} | {row['no']:.0%} |")
    about = f"{made['questions']} questions about {made['clips']} times three scenes of the validation split."
    return "\n".join([about, "", *lines]) + "\n"


def _interval(row: dict[str, Any] | None, key: str) -> str:
    if row is None or key not in row:
        return "-"
    low, high = (round(100 * end) for end in row[f"{key}_95"])
    return f"{row[key]:.0%} ({low}-{high})" if low != high else f"{row[key]:.0%}"

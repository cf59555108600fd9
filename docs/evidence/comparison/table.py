"""The tables of docs/comparison.md, from docs/evidence/comparison/results.json."""

from __future__ import annotations

import json
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")


def table(facts: Callable[[str], tuple[str, str]]) -> str:
    """A row for each recipe that chooses without the question, controls first, then by accuracy at the smallest budget.

    Args:
        facts: Function from a recipe's name to whether it is served, and to the families of models it runs on.
    """
    made = _measured()
    keeps = [str(keep) for keep in made["budgets"]]
    last = keeps[-1]
    rows = sorted(made["rows"], key=lambda row: (not row["control"], -row["accuracy"][last].get("accuracy", 0)))
    head = ["method", *keeps, *(f"covered at {keep}" for keep in keeps), "ms", "kB", "served", "families"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 3)}---|---:|"]
    for row in rows:
        name = row["recipe"]
        served, families = facts(name)
        cells = [_accuracy(row["accuracy"][keep]) for keep in keeps]
        cells += [f"{100 * row['coverage'][keep]:.0f}%" for keep in keeps]
        cells += [f"{row['select_ms']:.1f}", f"{row['memory'] / 1000:,.0f}", served, families]
        star = " *" if row["control"] else ""
        lines.append(f"| [{name}](methods/{name}.md){star} | {' | '.join(cells)} |")
    timed = made["timed"]
    notes = [
        f"{made['questions']} questions about the first {made['images']} of the {made['of']} frozen scenes; "
        f"`{made['model']}`. \\*: a control.",
        f"Coverage: share of all tokens with a kept one at a cosine of {made['theta']} or more, at the tower, mean of "
        f"the photographs {', '.join(made['photographs'])}. ms: processor time of selecting {timed['keep']} of 576 "
        f"tokens, the best of {timed['repeats']}, {timed['threads']} thread, on a machine that others used. kB: N x N "
        f"matrices during selection.",
    ]
    return "\n".join([*lines, "", *textwrap.wrap(" ".join(notes), 120)]) + "\n"


def asked() -> str:
    """A row for each recipe with one call for each question, and for those beside them, by the smallest budget."""
    made = _measured()
    part = made.get("asked")
    if part is None:
        return "Not measured yet.\n"
    keeps = [str(keep) for keep in part["budgets"]]
    last, layers = keeps[-1], part["layers"]
    rows = sorted(part["rows"], key=lambda row: -row["accuracy"][last].get("accuracy", 0))
    head = ["method", "layers before", *keeps, *(f"to `scope` at {keep}" for keep in keeps)]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in rows:
        name, cells = row["recipe"], row["accuracy"]
        inside = re.fullmatch(r"decoder\[(\d+)\]", row["at"])
        before = f"{inside[1] if inside else 0} of {layers}"
        star = " *" if row["beside"] else ""
        found = [_accuracy(cells[keep]) for keep in keeps] + [_gap(cells[keep]) for keep in keeps]
        lines.append(f"| [{name}](methods/{name}.md){star} | {before} | {' | '.join(found)} |")
    notes = (
        f"{part['questions']} questions about the first {part['images']} of the {made['of']} frozen scenes; "
        f"`{made['model']}`. \\*: chooses without the question, for comparison. *Layers before*: layers of the "
        f"language model that read all 576 tokens before any are dropped. Differences in percentage points to `scope` "
        f"on the same questions, with 95% intervals of this pair; bold ones are separated, corrected for the "
        f"{len(rows) - 1} differences of a column."
    )
    return "\n".join([*lines, "", *textwrap.wrap(notes, 120)]) + "\n"


def left_out(recipes: Sequence[str]) -> str:
    """The recipes that are in neither table, by reason.

    Args:
        recipes: All recipes that there are now; those that the results do not know are listed as not measured yet.
    """
    made = _measured()
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, why in made["left_out"].items():
        reasons[why].append(name)
    rows = [*made["rows"], *made.get("asked", {"rows": []})["rows"]]
    known = {row["recipe"] for row in rows} | set(made["left_out"])
    if added := [name for name in recipes if name not in known]:
        reasons["not measured yet"] = added
    lines = []
    for why, names in sorted(reasons.items(), key=lambda one: len(one[1])):
        text = f"- {why}: {', '.join(f'`{name}`' for name in names)}"
        lines += textwrap.wrap(text, 120, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _measured() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return made


def _accuracy(found: dict[str, Any]) -> str:
    if "skipped" in found:
        return "-"
    low, high = found["interval"]
    return f"{100 * found['accuracy']:.1f}±{50 * (high - low):.1f}"


def _gap(found: dict[str, Any]) -> str:
    if "more" not in found:
        return ""
    more = found["more"]
    low, high = (f"{100 * end:+.1f}" for end in more["interval"])
    mark = "**" if more["separated"] else ""
    return f"{mark}{100 * more['difference']:+.1f}{mark} ({low} .. {high})"

"""The table of docs/comparison.md, from docs/evidence/comparison/results.json."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")


def table(facts: Callable[[str], tuple[str, str]], recipes: Sequence[str] = ()) -> str:
    """A row for each recipe, controls first, then by accuracy at the smallest budget.

    Args:
        facts: Function from a recipe's name to whether it is served, and to the families of models it runs on.
        recipes: All recipes that there are now; those that the results do not know are listed.
    """
    made: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
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
    lines += ["", *textwrap.wrap(" ".join(notes), 120), "", "Not measured:", ""]
    for name, why in made["left_out"].items():
        if why != "for videos":
            lines += textwrap.wrap(f"- `{name}`: {why}", 120, subsequent_indent="  ", break_on_hyphens=False)
    known = {row["recipe"] for row in made["rows"]} | set(made["left_out"])
    added = [f"`{name}`" for name in recipes if name not in known]
    if added:
        lines += textwrap.wrap(f"- added since: {', '.join(added)}", 120, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def _accuracy(found: dict[str, Any]) -> str:
    if "skipped" in found:
        return "-"
    low, high = found["interval"]
    return f"{100 * found['accuracy']:.1f}±{50 * (high - low):.1f}"

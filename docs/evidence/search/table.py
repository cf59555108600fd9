"""The tables of docs/search.md, from docs/evidence/search/results.json."""

from __future__ import annotations

import json
import math
import textwrap
from pathlib import Path
from statistics import NormalDist
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
STRATEGIES = Path(__file__).parents[1] / "strategies" / "results.json"
"""Eight methods and the bounds on the same test scenes."""
ROUNDS = ("first", "second", "third")
NAMES = {
    "scope": "SCOPE",
    "divprune": "DivPrune",
    "adts": "ADTS",
    "top_k": "attention alone",
    "a1.5": "alpha 1.5",
    "adts.3": "ADTS, alpha 0.3",
    "adts.5": "ADTS, alpha 0.5",
    "adts2": "ADTS, alpha 2",
    "w1_a0": "rows weighted by attention, alpha 0",
    "w.5_a1": "rows weighted by attention^0.5",
    "w1_a1": "rows weighted by attention",
    "w1_a.5": "rows weighted by attention, alpha 0.5",
    "sharp2": "cosine^2",
    "sharp4": "cosine^4",
    "sharp4_w1": "cosine^4, rows weighted",
    "sharp2_w1": "cosine^2, rows weighted",
    "sp4": "cosine x nearness 4",
    "sp2": "cosine x nearness 2",
    "logdet": "log-determinant",
    "keys": "cosine of keys",
    "smooth": "smoothed attention",
    "l-1": "attention of layer -1",
    "l-3": "attention of layer -3",
    "l-4": "attention of layer -4",
    "layers": "attention of layers -1 to -3",
    "md": "distance from the mean as saliency",
    "cls*md": "attention x distance from the mean",
    "theta.7": "count of tokens covered at 0.7",
    "theta.6": "count of tokens covered at 0.6",
    "k_adts.5": "keys, ADTS, alpha 0.5",
    "k_adts1": "keys, ADTS",
    "k_w1_a.5": "**keys, rows weighted, alpha 0.5**",
    "k_w1_a0": "keys, rows weighted, alpha 0",
    "k_w1_a.75": "keys, rows weighted, alpha 0.75",
    "k_w1_a.25": "keys, rows weighted, alpha 0.25",
    "k_sp3": "keys x nearness 3",
    "k_sp3_w1_a.5": "keys x nearness 3, rows weighted, alpha 0.5",
    "k_sp4_w1_a0.5": "keys x nearness 4, rows weighted, alpha 0.5",
    "k_sp4_w1_a.5": "keys x nearness 4, rows weighted, alpha 0.5",
    "k_sp6_w1_a0.5": "keys x nearness 6, rows weighted, alpha 0.5",
    "k_sp4_w1_a0.75": "keys x nearness 4, rows weighted, alpha 0.75",
    "k_sp6_w1_a1": "keys x nearness 6, rows weighted",
    "k_sp4_w.5_a.75": "keys x nearness 4, rows weighted by attention^0.5, alpha 0.75",
    "k_sp4_adts.5": "keys x nearness 4, ADTS, alpha 0.5",
    "sp2_adts.5": "cosine x nearness 2, ADTS, alpha 0.5",
    "sp4_adts.5": "cosine x nearness 4, ADTS, alpha 0.5",
    "sp3_w1_a.5": "cosine x nearness 3, rows weighted, alpha 0.5",
    "sp4_w1_a0": "cosine x nearness 4, rows weighted, alpha 0",
    "sp2_w1_a.5": "cosine x nearness 2, rows weighted, alpha 0.5",
    "logdet_a.5": "log-determinant, alpha 0.5",
    "k_logdet_a.5": "keys, log-determinant, alpha 0.5",
    "k_logdet_a.75": "keys, log-determinant, alpha 0.75",
    "cos+k_w1_a.5": "cosine + keys, rows weighted, alpha 0.5",
    "chain_adts_w": "half by ADTS, then rows weighted, conditioned",
    "k_w": "no text: keys, rows weighted, alpha 0.5",
    "mmtok": "MMTok",
    "t0.02_1": "attention + relevance, temperature 0.02",
    "t0.05_1": "attention + relevance, temperature 0.05",
    "t0.1_1": "attention + relevance, temperature 0.1",
    "t.05_3": "attention + 3 x relevance, temperature 0.05",
    "t.05_prod": "**attention x relevance, temperature 0.05**",
    "t.05_only": "relevance alone, temperature 0.05",
}


def validation() -> str:
    """Every candidate on the validation scenes, in the order of its gain at 16 tokens."""
    return _candidates([_measured()["validation"][name] for name in ROUNDS if name in _measured()["validation"]])


def last() -> str:
    """The best candidates at larger budgets."""
    return _candidates([_measured()["validation"]["last"]])


def text() -> str:
    """The text-aware candidates on the validation scenes."""
    return _candidates([_measured()["validation"]["text"]])


def test(part: str) -> str:
    """The one report on the test scenes: ``test``, or ``test_text``; or that on scenes of another seed, ``fresh``."""
    found = _measured().get(part)
    if found is None:
        return "Not measured yet.\n"
    rows = {(row["name"], row["keep"]): row for row in found["rows"]}
    keeps = list(dict.fromkeys(row["keep"] for row in found["rows"]))
    lines = [
        f"{found['questions']} questions about {found['images']} images of the split `{found.get('split', 'test')}`"
        + (f", seed {found['seed']}." if "seed" in found else "."),
        "",
        f"| tokens kept | {' | '.join(map(str, keeps))} |",
        f"|---|{'---:|' * len(keeps)}",
    ]
    for name in dict.fromkeys(row["name"] for row in found["rows"]):
        lines.append(f"| `{name}` | {' | '.join(_share(rows[name, keep]) for keep in keeps)} |")
    for name in dict.fromkeys(row["name"] for row in found["rows"] if row["name"] != "scope"):
        gaps = [rows[name, keep]["more"] for keep in keeps]
        lines.append(f"| `{name}` - `scope` | {' | '.join(map(_gap, gaps))} |")
        lines.append(f"| separated | {' | '.join('yes' if gap['separated'] else 'no' for gap in gaps)} |")
        wins = (f"{gap['wins']}/{gap['ties']}/{gap['losses']}" for gap in gaps)
        lines.append(f"| win/tie/loss | {' | '.join(wins)} |")
    return "\n".join(lines) + "\n"


def power(keep: int = 64, chance: float = 0.8) -> str:
    """The number of scenes at which a difference as large as the one measured would probably be separated."""
    found = _measured()["test"]
    rows = {(row["name"], row["keep"]): row for row in found["rows"]}
    gap, all_tokens = rows["scope_plus", keep]["more"], _accuracy_of("all tokens")
    scenes = [scenes_needed(gap, found["images"], pairs, chance) for pairs in (1, found["pairs"])]
    text = (
        f"At {keep} tokens SCOPE answers {100 * rows['scope', keep]['accuracy']:.1f}%, and all tokens "
        f"{100 * all_tokens:.1f}%. If scope_plus is better by the {100 * gap['difference']:.1f} points measured, about "
        f"{scenes[0]:,} scenes of this kind would separate the two in {chance:.0%} of tests, and {scenes[1]:,} after "
        f"correction for {found['pairs']} pairs; the test split has {found['images']}."
    )
    return "\n".join(textwrap.wrap(text, 120)) + "\n"


def scenes_needed(gap: dict[str, Any], scenes: int, pairs: int = 1, chance: float = 0.8) -> int:
    """Scenes for a two-sided test of one of ``pairs`` differences that is as large as ``gap``, rounded up to 100s.

    The standard error is that of the interval of ``gap``, measured on ``scenes`` scenes, and falls with their root.
    """
    normal = NormalDist()
    low, high = gap["interval"]
    error = (high - low) / 2 / normal.inv_cdf(0.975)
    errors = normal.inv_cdf(1 - 0.05 / 2 / pairs) + normal.inv_cdf(chance)
    return 100 * math.ceil(scenes * (errors * error / gap["difference"]) ** 2 / 100)


def _accuracy_of(bound: str) -> float:
    runs = json.loads(STRATEGIES.read_text(encoding="utf-8"))["runs"]
    return float(next(run["accuracy"] for run in runs if run["name"] == bound))


def _measured() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return made


def _candidates(rounds: list[dict[str, Any]]) -> str:
    rows = {(row["name"], row["keep"]): row for part in rounds for row in part["rows"]}
    keeps = sorted({keep for _, keep in rows})
    names = sorted({name for name, _ in rows}, key=lambda name: (-_more(rows, name, keeps[0]), name))
    covered = 16 in keeps and any(row["coverage"] is not None for row in rows.values())
    columns = [f"{keep} tokens" for keep in keeps] + (["covered at 16", "at 32"] if covered else [])
    lines = [f"| candidate | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name in names:
        cells = [_gap(rows[name, keep]["more"]) if (name, keep) in rows else "" for keep in keeps]
        if name == "scope":
            cells = [f"{100 * rows[name, keep]['accuracy']:.1f}%" for keep in keeps]
        cells += [_percent(rows.get((name, keep))) for keep in (16, 32)] if covered else []
        lines.append(f"| {NAMES[name]} | {' | '.join(cells)} |")
    images = sorted({part["images"] for part in rounds})
    return f"{' and '.join(map(str, images))} images.\n\n" + "\n".join(lines) + "\n"


def _more(rows: dict[Any, Any], name: str, keep: int) -> float:
    return float(rows[name, keep]["more"]["difference"]) if (name, keep) in rows else -1.0


def _gap(gap: dict[str, Any]) -> str:
    low, high = (f"{100 * end:+.1f}" for end in gap["interval"])
    return f"{100 * gap['difference']:+.1f} ({low} .. {high})"


def _share(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{100 * row['accuracy']:.1f}±{50 * (high - low):.1f}"


def _percent(row: dict[str, Any] | None) -> str:
    return "" if row is None or row["coverage"] is None else f"{100 * row['coverage']:.0f}%"

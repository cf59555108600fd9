"""Measure SCOPE's claims anew, and write the numbers into docs/evidence.md.

    python docs/evidence/run.py                 # the whole test split: half an hour on two cores
    python docs/evidence/run.py --limit 100     # more quickly, with wider intervals
    python docs/evidence/run.py --write         # measure nothing: results.json into tables, pictures and the page

It runs `scope bench accuracy` twice, which resumes where it was interrupted, draws each run's plot.png, and fills the
marked places of docs/evidence/page.template.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scope_bench.accuracy import tables
from scope_bench.accuracy.plot import plot

HERE = Path(__file__).resolve().parent
PAGE, TEMPLATE = HERE.parent / "evidence.md", HERE / "page.template"
AUGMENTATION = HERE / "augmentation.json"
MODEL, TASK = "scenes-llava", "scenes"
STRATEGIES = "scope,top_k_attention,coverage_only,divprune,random,uniform_grid,downsample"
ALPHAS = ("0", "0.5", "1", "1.5", "2")
ABLATION = ",".join(
    f"docs/evidence/specs/{name}.yaml"
    for name in (
        *(f"alpha-{alpha}" for alpha in ALPHAS),
        "sum",
        "sum-mean",
        "saliency-only",
        "coverage-only",
        "random-1",
        "random-2",
    )
)
RUNS = {
    "strategies": ("--specs", STRATEGIES, "--keep", "192,128,64,32,16"),
    "ablation": ("--specs", f"{ABLATION},random", "--keep", "64,32,16"),
}

# (claim, run, the one that is said to answer more, the other)
CLAIMS = (
    ("SCOPE more than attention alone", "strategies", "scope", "top_k_attention"),
    ("SCOPE more than coverage alone", "strategies", "scope", "coverage_only"),
    ("SCOPE more than DivPrune", "strategies", "scope", "divprune"),
    ("SCOPE more than random tokens", "strategies", "scope", "random"),
    ("SCOPE more than a uniform grid", "strategies", "scope", "uniform_grid"),
    ("SCOPE more than a smaller image", "strategies", "scope", "downsample"),
    ("coverage more than attention, each alone", "strategies", "coverage_only", "top_k_attention"),
    ("product more than the published sum", "ablation", "alpha-1", "sum"),
    ("product more than a sum on equal scales", "ablation", "alpha-1", "sum-mean"),
    ("alpha 1 more than 0.5", "ablation", "alpha-1", "alpha-0.5"),
    ("alpha 1 more than 1.5", "ablation", "alpha-1", "alpha-1.5"),
    ("alpha 1 more than 2", "ablation", "alpha-1", "alpha-2"),
)
BUDGETS = ("64", "32", "16")
SOUND = ("existence", "where", "relation", "size")
"""Kinds of questions that the model answers well enough with all tokens; the model card says why not the others."""


NOT_DRAWN = ("alpha-0",)
"""It keeps what coverage-only keeps: its line would lie under that one's."""

AS_CONTROLS = ("random-1", "random-2", "coverage-only")
"""Controls by other names or seeds; they are drawn like controls."""

COLOURS = {
    "alpha-0.5": "#9ecae1",  # SCOPE's alphas: one ramp
    "alpha-1": "#4292c6",
    "scope": "#4292c6",
    "alpha-1.5": "#2171b5",
    "alpha-2": "#08306b",
    "sum": "#ff7f0e",
    "sum-mean": "#d62728",
    "divprune": "#d62728",
    "saliency-only": "#2ca02c",
    "top_k_attention": "#2ca02c",
    "coverage-only": "#8c564b",
    "coverage_only": "#8c564b",
    "random": "#54278f",  # the control's seeds: another ramp
    "random-1": "#807dba",
    "random-2": "#bcbddc",
    "uniform_grid": "#e377c2",
    "downsample": "#17becf",
}
"""The same part of the method has the same colour in both pictures."""


def measure(limit: int | None) -> None:
    """Run the benchmark; results.json, table.md and plot.png go into a folder for each run."""
    for name, options in RUNS.items():
        command = [sys.executable, "-m", "scope_core", "bench", "accuracy", "--model", MODEL, "--task", TASK, *options]
        command += ["--out", f"docs/evidence/{name}", *(["--limit", str(limit)] if limit else [])]
        subprocess.run(command, cwd=HERE.parents[1], check=True)


def measured() -> dict[str, Any]:
    """Results of both runs."""
    return {name: json.loads((HERE / name / "results.json").read_text("utf-8")) for name in RUNS}


def draw(results: dict[str, Any]) -> None:
    """The picture and the tables of each run, from what was measured."""
    for name, found in results.items():
        runs = [{**run, "role": "control"} if run["name"] in AS_CONTROLS else run for run in found["runs"]]
        plot({**found, "runs": runs}, HERE / name / "plot.png", colours=COLOURS, without=NOT_DRAWN)
        text = "\n\n".join(table.markdown() for table in tables.tables(found))
        (HERE / name / "table.md").write_text(f"{text}\n", encoding="utf-8")


def verdict(found: dict[str, Any]) -> str:
    """What one comparison says about a claim."""
    low, high = (tables.signed(100 * bound) for bound in found["interval"])
    word = "not separated" if not found["separated"] else "yes" if found["difference"] > 0 else "the other way"
    return f"{word}: {tables.signed(100 * found['difference'])} ({low} .. {high})"


def claims(results: dict[str, Any]) -> str:
    """The table of claims."""
    lines = [f"| claim | {' | '.join(f'{keep} tokens' for keep in BUDGETS)} |", "|---|---|---|---|"]
    for text, run, one, other in CLAIMS:
        pairs = results[run]["pairs"]
        lines.append(f"| {text} | {' | '.join(verdict(pairs[keep][one][other]) for keep in BUDGETS)} |")
    return "\n".join(lines)


def facts(results: dict[str, Any]) -> str:
    """What was run, and whether it can show anything."""
    first = results["strategies"]
    at = {(run["name"], run["keep"]): run for run in first["runs"]}
    lines = [
        f"{first['questions']} questions about {first['examples']} images of the split `{first['split']}`, in "
        f"{first['groups']} groups.",
        "",
        "| | % right |",
        "|---|---:|",
    ]
    for name in ("all tokens", "shuffled images", "blind"):
        lines.append(f"| {name} | {tables.points(at[name, None])} |")
    for keep in BUDGETS:
        lines.append(
            f"| label oracle, random at {keep} | {tables.points(at['label oracle', int(keep)])}, "
            f"{tables.points(at['random', int(keep)])} |"
        )
    return "\n".join(lines)


def sound(results: dict[str, Any]) -> str:
    """Accuracy over the kinds that the model is good at, a row for each method."""
    first = results["strategies"]
    at = {(run["name"], run["keep"]): run["kinds"] for run in first["runs"]}

    def points(name: str, keep: int | None) -> str:
        kinds = [at[name, keep][kind] for kind in SOUND]
        right = sum(kind["accuracy"] * kind["questions"] for kind in kinds)
        return f"{100 * right / sum(kind['questions'] for kind in kinds):.1f}"

    keeps = first["budgets"]
    names = list(dict.fromkeys(run["name"] for run in first["runs"] if run["role"] != "bound"))
    lines = [f"| {', '.join(SOUND)} | {' | '.join(map(str, keeps))} |", f"|---|{'---:|' * len(keeps)}"]
    lines += [f"| {name} | {' | '.join(points(name, keep) for keep in keeps)} |" for name in ("label oracle", *names)]
    lines += ["", f"All tokens: {points('all tokens', None)}."]
    return "\n".join(lines)


def augmentation(found: dict[str, Any]) -> str:
    """Accuracy after training on with other patterns, a row for each."""
    variants = found["variants"]
    names = list(next(iter(variants.values()))["64"])
    lines = []
    for keep in ("64", "16"):
        lines += [
            f"{keep} tokens:",
            "",
            f"| trained on with | all | {' | '.join(names)} |",
            f"|---|{'---:|' * (1 + len(names))}",
        ]
        for variant, scores in variants.items():
            cells = (f"{100 * scores[keep][name]:.1f}" for name in names)
            lines.append(f"| {variant} | {100 * scores['all']:.1f} | {' | '.join(cells)} |")
        lines.append("")
    lines.append(
        f"{found['steps']} steps each from the shipped weights, {found['scenes']} training scenes, "
        f"{found['questions']} questions about {found['examples']} test images, % right."
    )
    return "\n".join(lines)


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with its marked places filled."""

    def parts(keep: int) -> str:
        made = tables.tables(results["strategies"], details=[keep])[1:]
        return "\n\n".join(table.markdown() for table in made)

    blocks = {
        "facts": facts(results),
        "claims": claims(results),
        "strategies": tables.accuracy(results["strategies"]).markdown(),
        "sound": sound(results),
        "ablation": tables.accuracy(results["ablation"]).markdown(),
        "parts-64": parts(64),
        "parts-16": parts(16),
        "augmentation": augmentation(json.loads(AUGMENTATION.read_text("utf-8"))),
    }
    for name, text in blocks.items():
        place = f"<!-- evidence: {name} -->\n<!-- end -->"
        if page.count(place) != 1:
            raise SystemExit(f"{TEMPLATE} has {page.count(place)} places called '{name}'")
        page = page.replace(place, f"<!-- evidence: {name} -->\n{text}\n<!-- end -->")
    return page


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="images at most")
    parser.add_argument("--write", action="store_true", help="write what was measured before")
    given = parser.parse_args()
    if not given.write:
        measure(given.limit)
    results = measured()
    draw(results)
    PAGE.write_text(filled(TEMPLATE.read_text("utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Every recipe for images on the frozen scenes, and what selecting costs: the data of docs/comparison.md.

    python docs/evidence/comparison/run.py                       # the frozen scenes: a night on one core
    python docs/evidence/comparison/run.py --limit 30 --keep 64,16   # the first 30 of them

continues where it was interrupted, and writes results.json, from which docs/generate.py makes the table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from skimage import data

import scope_core as scope
from scope_bench.accuracy.cache import default_folder
from scope_bench.accuracy.methods import Method
from scope_bench.accuracy.report import Scores
from scope_bench.accuracy.runner import Settings, run, scenes_of
from scope_core.adapters import Reader, reusable

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
MODEL, TASK = "scenes-llava", "scenes"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
THETA, TIMED, REPEATS = 0.8, 64, 15
SIGNALS = frozenset({"vision.cls_attention[-2]", "vision.keys[-2]"})
"""What one encoding of a photograph gives to all methods, beside what each reads."""


def candidates(registry: scope.Registry, model: Any) -> tuple[list[tuple[str, bool]], dict[str, str]]:
    """Recipes that are measured, controls first, as ``(name, is a control)``; and why the others are not."""
    found, left = [], {}
    for record in registry.records("recipe"):
        if "@" in record.name:
            continue
        recipe = record.item
        try:
            pruner = scope.Pruner({"recipe": record.name, "budget": TIMED}, registry=registry)
            pruner.check(model)
        except scope.ScopeError as error:
            left[record.name] = shortened(str(error))
            continue
        if recipe.spec.get("partition") == "video":
            left[record.name] = "for videos"
        elif not reusable(pruner, model):
            left[record.name] = "reads the question, or prunes inside the language model: one call for each question"
        else:
            found.append((record.name, bool(recipe.control)))
    return sorted(found, key=lambda one: not one[1]), left


def shortened(reason: str) -> str:
    """The reason of a refusal without the lists of what else there is."""
    reason = " ".join(reason.split()).replace(f" (scope-core {scope.__version__})", "")
    return reason.partition(": it offers")[0].partition(". Points:")[0].rpartition(" does: ")[2]


def accuracies(loaded: Any, names: list[str], keeps: list[int], limit: int | None) -> tuple[dict[str, Any], Any]:
    """``{recipe: {budget: accuracy and interval}}`` on the frozen scenes, and the outcome they were computed from."""
    registry = scope.default_registry()
    task = registry.build("task", registry.get("task", TASK).spec())
    settings = Settings(split="test", limit=limit, folder=default_folder())
    methods = [
        Method(name, keep, scope.Pruner(f"{name}@{keep}", registry=registry)) for name in names for keep in keeps
    ]
    outcome = run(loaded, task, methods, scenes_of(loaded, task, settings), settings, registry, _shown)
    scores = Scores(outcome)
    found: dict[str, Any] = {name: {} for name in names}
    for method in outcome.methods:
        found[method.name][str(method.keep)] = scores.share(method.label)
    for skipped in outcome.skipped:
        found[skipped.method.name][str(skipped.method.keep)] = {"skipped": skipped.why}
    return found, outcome


def _shown(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"{done} of {total}", flush=True)


def costs(loaded: Any, name: str, keeps: list[int]) -> dict[str, Any]:
    """theta-coverage of photographs at each budget, processor time of a selection, and the bytes of its matrices."""
    pruners = {keep: scope.Pruner(f"{name}@{keep}") for keep in sorted({*keeps, TIMED})}
    coverage: dict[str, list[float]] = {str(keep): [] for keep in keeps}
    seconds, memory = [], 0
    vision = Reader(scope.Pruner("scope@64"), SIGNALS)
    for photograph in PHOTOGRAPHS:
        inputs = loaded.inputs([Image.fromarray(getattr(data, photograph)())], "What is it?")
        with vision.attach(loaded.model) as pruning:
            seen = pruning.encode(inputs).tokens
        with pruners[TIMED].attach(loaded.model) as pruning:
            encoding = pruning.encode(inputs)
        for keep in keeps:
            kept = pruners[keep].prune(encoding.tokens, encoding.layout).mask
            unit = torch.nn.functional.normalize(seen.features[0].double(), dim=1)
            best = (unit @ unit[kept[0]].T).amax(1)
            coverage[str(keep)].append(float((best >= THETA - 1e-6).double().mean()))
        memory = pruners[TIMED].plan(encoding.layout).memory
        for _ in range(REPEATS):
            start = time.process_time()
            pruners[TIMED].prune(encoding.tokens, encoding.layout)
            seconds.append(time.process_time() - start)
    means = {keep: sum(shares) / len(shares) for keep, shares in coverage.items()}
    return {"coverage": means, "select_ms": 1e3 * min(seconds), "memory": int(memory or 0)}


def main() -> None:
    """Measure, and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="images at most, the first of the frozen ones")
    parser.add_argument("--keep", default="192,128,64,32,16", help="budgets")
    given = parser.parse_args()
    keeps = [int(keep) for keep in given.keep.split(",")]
    torch.set_num_threads(1)
    loaded = scope.load(MODEL)
    found, left = candidates(scope.default_registry(), loaded.model)
    names = [name for name, _ in found]
    cost = {name: costs(loaded, name, keeps) for name in names}
    accuracy, outcome = accuracies(loaded, names, keeps, given.limit)
    results = {
        "model": MODEL,
        "task": TASK,
        "images": len(outcome.scenes),
        "of": 416,
        "questions": sum(len(scene.example.questions) for scene in outcome.scenes),
        "budgets": keeps,
        "photographs": PHOTOGRAPHS,
        "theta": THETA,
        "timed": {"keep": TIMED, "repeats": REPEATS * len(PHOTOGRAPHS), "threads": torch.get_num_threads()},
        "rows": [{"recipe": n, "control": control, "accuracy": accuracy[n], **cost[n]} for n, control in found],
        "left_out": left,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

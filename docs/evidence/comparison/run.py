"""Every recipe for images on the frozen scenes, and what selecting costs: the data of docs/comparison.md.

    python docs/evidence/comparison/run.py                       # the frozen scenes: a night on one core
    python docs/evidence/comparison/run.py --limit 30 --keep 64,16   # the first 30 of them
    python docs/evidence/comparison/run.py --add                 # only recipes that the table of results.json lacks
    python docs/evidence/comparison/run.py --asked 20            # the other table: recipes that read the question, or
                                                                 # prune inside the language model, on the first 20

continues where it was interrupted, and writes results.json, from which docs/generate.py makes the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from skimage import data

import scope_core as scope
from scope_adapters.towers.memo import remembering
from scope_bench.accuracy.cache import TensorCache, default_folder
from scope_bench.accuracy.methods import Method
from scope_bench.accuracy.report import Scores
from scope_bench.accuracy.runner import Run, Settings, run, scenes_of
from scope_core.adapters import Reader, reusable

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
MODEL, TASK = "scenes-llava", "scenes"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
THETA, TIMED, REPEATS = 0.8, 64, 15
SIGNALS = frozenset({"vision.cls_attention[-2]", "vision.keys[-2]"})
"""What one encoding of a photograph gives to all methods, beside what each reads."""
BESIDE = ("scope", "random")
"""Recipes that are asked the same questions as those that read them."""
CONTROL = {"recipe": "random", "at": "decoder[2]"}
"""What pruning inside this language model costs, whatever is kept."""
VARIANT, VIDEO = "variants of the recipes above", "for videos"
"""Why a recipe is in no table, though it might run."""


@dataclass
class Candidates:
    """Every recipe of a registry, in one of three lists.

    Attributes:
        images: Recipes that choose without the question, controls first, as ``(name, is a control)``.
        questions: Recipes that read the question, or prune inside the language model.
        left: Why each of the others is not measured.
    """

    images: list[tuple[str, bool]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def candidates(registry: scope.Registry, model: Any) -> Candidates:
    """Where each recipe is measured on a model, or why it is not."""
    found = Candidates()
    for record in registry.records("recipe"):
        name, recipe = record.name, record.item
        if "@" in name:
            found.left[name] = VARIANT
        elif recipe.spec.get("partition") == "video":
            found.left[name] = VIDEO
        else:
            try:
                pruner = scope.Pruner({"recipe": name, "budget": TIMED}, registry=registry)
                pruner.check(model)
            except scope.ScopeError as error:
                found.left[name] = shortened(str(error))
                continue
            if reusable(pruner, model):
                found.images.append((name, bool(recipe.control)))
            else:
                found.questions.append(name)
    found.images.sort(key=lambda one: not one[1])
    return found


def shortened(reason: str) -> str:
    """The reason of a refusal without the lists of what else there is."""
    reason = " ".join(reason.split()).replace(f" (scope-core {scope.__version__})", "")
    reason = re.sub(r", so there is no point 'decoder.*", ": too few", reason)
    return reason.partition(": it offers")[0].partition(". Points:")[0].rpartition(" does: ")[2]


def outcome_of(loaded: Any, names: Sequence[str], keeps: list[int], limit: int | None) -> Run:
    """The answers of recipes on the frozen scenes; the tower runs once for an image, also in ordinary calls."""
    registry = scope.default_registry()
    task = registry.build("task", registry.get("task", TASK).spec())
    settings = Settings(split="test", limit=limit, folder=default_folder())
    methods = [
        Method(name, keep, scope.Pruner({**spec_of(name), "budget": keep}, registry=registry))
        for name in names
        for keep in keeps
    ]
    memo = TensorCache(None if settings.folder is None else settings.folder / "features")
    with remembering(memo):
        return run(loaded, task, methods, scenes_of(loaded, task, settings), settings, registry, _shown)


def spec_of(name: str) -> dict[str, Any]:
    """The spec, without a budget, of a recipe or of one moved to another point: ``random at decoder[2]``."""
    recipe, _, at = name.partition(" at ")
    return {"recipe": recipe, **({"at": at} if at else {})}


@contextmanager
def tower_once(model: Any) -> Iterator[None]:
    """Keep the tower's output for each image: for recipes that read nothing inside the tower."""
    tower = model.model.vision_tower
    forward, kept = tower.forward, {}

    def reused(pixel_values: torch.Tensor, **options: Any) -> Any:
        key = hashlib.blake2b(pixel_values.numpy().tobytes()).digest()
        if key not in kept:
            kept[key] = forward(pixel_values, **options)
        return kept[key]

    tower.forward = reused
    try:
        yield
    finally:
        del tower.forward


def accuracies(outcome: Run, other: str | None = None) -> dict[str, Any]:
    """``{recipe: {budget: accuracy and interval}}``, with the difference to a recipe of the same outcome."""
    scores, names = Scores(outcome), {method.name for method in outcome.methods}
    found: dict[str, Any] = defaultdict(dict)
    for method in outcome.methods:
        cell = scores.share(method.label)
        if other not in (None, method.name):
            cell["more"] = scores.difference(method.label, f"{other}@{method.keep}", len(names) - 1)
        found[method.name][str(method.keep)] = cell
    for skipped in outcome.skipped:
        found[skipped.method.name][str(skipped.method.keep)] = {"skipped": skipped.why}
    return dict(found)


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


def facts(outcome: Run, keeps: list[int]) -> dict[str, Any]:
    """What a table was measured on."""
    questions = sum(len(scene.example.questions) for scene in outcome.scenes)
    return {"images": len(outcome.scenes), "questions": questions, "budgets": keeps}


def rows_of(loaded: Any, found: list[tuple[str, bool]], keeps: list[int], limit: int | None) -> tuple[Any, Run]:
    """The rows of recipes that choose without the question, and the outcome that they were computed from."""
    cost = {name: costs(loaded, name, keeps) for name, _ in found}
    outcome = outcome_of(loaded, [name for name, _ in found], keeps, limit)
    accuracy = accuracies(outcome)
    return [{"recipe": n, "control": control, "accuracy": accuracy[n], **cost[n]} for n, control in found], outcome


def asked(loaded: Any, names: list[str], keeps: list[int], limit: int) -> dict[str, Any]:
    """The second table: recipes with one call for each question, beside two that need one for each image."""
    names = [" at ".join(CONTROL.values()), *names]
    pruners = {name: scope.Pruner({**spec_of(name), "budget": TIMED}) for name in (*BESIDE, *names)}
    blind = [name for name in names if not any(need.startswith("vision.") for need in pruners[name].needs)]
    with tower_once(loaded.model):
        outcome_of(loaded, blind, keeps, limit)  # their answers are kept, and read below
    outcome = outcome_of(loaded, [*BESIDE, *names], keeps, limit)
    accuracy = accuracies(outcome, BESIDE[0])
    rows = [
        {
            "recipe": spec_of(name)["recipe"],
            "beside": name in (*BESIDE, names[0]),
            "at": pruner.spec.at,
            "accuracy": accuracy[name],
        }
        for name, pruner in pruners.items()
    ]
    return {**facts(outcome, keeps), "layers": loaded.model.config.get_text_config().num_hidden_layers, "rows": rows}


def main() -> None:
    """Measure, and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="images at most, the first of the frozen ones")
    parser.add_argument("--keep", default="192,128,64,32,16", help="budgets")
    parser.add_argument("--add", action="store_true", help="measure recipes that the table lacks, on its images")
    parser.add_argument("--asked", type=int, help="images of the table of recipes with one call for each question")
    given = parser.parse_args()
    keeps = [int(keep) for keep in given.keep.split(",")]
    torch.set_num_threads(1)
    loaded = scope.load(MODEL)
    found = candidates(scope.default_registry(), loaded.model)
    results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    if given.asked:
        results["asked"] = asked(loaded, found.questions, keeps, given.asked)
    elif given.add:
        known = {row["recipe"] for row in results["rows"]}
        new = [one for one in found.images if one[0] not in known]
        results["rows"] += rows_of(loaded, new, results["budgets"], results["images"])[0] if new else []
    else:
        rows, outcome = rows_of(loaded, found.images, keeps, given.limit)
        results |= {
            "model": MODEL,
            "task": TASK,
            **facts(outcome, keeps),
            "of": 416,
            "photographs": PHOTOGRAPHS,
            "theta": THETA,
            "timed": {"keep": TIMED, "repeats": REPEATS * len(PHOTOGRAPHS), "threads": torch.get_num_threads()},
            "rows": rows,
        }
    results["left_out"] = found.left
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The search for scope_plus on validation scenes, and its one report on the frozen test scenes.

    python docs/evidence/search/run.py search first 120 16,32  # a round of candidates.py
    python docs/evidence/search/run.py search text 60 16,32
    python docs/evidence/search/run.py report              # scope_plus and scope on the test split, once
    python docs/evidence/search/run.py report text 120 32,16   # scope_text and scope on the first 120 of its images
    python docs/evidence/search/run.py fresh 200 64,32,16 20261129 PHOTOGRAPHS   # on scenes of another seed

The last draws validation scenes, also on the photographs of a folder if one is given.

Each writes its part of results.json, from which docs/generate.py makes the tables of docs/search.md. It continues where
it was interrupted.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import candidates
import torch

import scope_core as scope
from scope_adapters.hosts.huggingface.text import text_embeddings
from scope_bench.accuracy.cache import TensorCache, default_folder
from scope_bench.accuracy.methods import Method
from scope_bench.accuracy.report import Scores
from scope_bench.accuracy.runner import THETAS, Run, Settings, run, scenes_of
from scope_core.adapters import Asked, Reader

RESULTS = Path(__file__).with_name("results.json")
MODEL, TASK = "scenes-llava", "scenes"
KEEPS = (192, 128, 64, 32, 16)
PAIRS = 28
"""Pairs of the eight methods of docs/evidence.md, for which a difference on the test scenes is corrected."""
SIGNALS = frozenset({"vision.cls_attention[-2]", "vision.keys[-2]", "vision.hidden[-2]", "projected"})


def pruner(spec: Any, keep: int) -> scope.Pruner:
    """A candidate with a budget."""
    if isinstance(spec, str):
        return scope.Pruner(f"{spec}@{keep}")
    return scope.Pruner({**spec, "budget": {"name": "tokens", "keep": keep, "per": "image"}})


def asked(specs: dict[str, Any], settings: Settings, keeps: list[int], **options: Any) -> Run:
    """The answers of methods that choose without the question; ``options`` are those of the task."""
    loaded, registry = scope.load(MODEL), scope.default_registry()
    task = registry.build("task", registry.get("task", TASK).spec(**options))
    methods = [Method(name, keep, pruner(spec, keep)) for name, spec in specs.items() for keep in keeps]
    return run(loaded, task, methods, scenes_of(loaded, task, settings), settings, registry)


def fresh(limit: int, keeps: list[int], seed: int, folder: str | None) -> dict[str, Any]:
    """scope_plus and scope on validation scenes that neither the search nor a test has seen."""
    settings = Settings("validation", limit=limit, seed=seed, folder=default_folder())
    names = ("scope", "scope_plus")
    outcome = asked({name: name for name in names}, settings, keeps, photographs=folder, scenes=max(limit, 400))
    rows = summary(outcome, PAIRS)
    added = sorted(path.name for path in Path(folder).iterdir() if path.suffix != ".txt") if folder else []
    return {
        "images": len(outcome.scenes),
        "questions": rows[0]["questions"],
        "pairs": PAIRS,
        "split": "validation",
        "seed": seed,
        "photographs": added,
        "rows": rows,
    }


def asked_by_question(specs: dict[str, Any], settings: Settings, keeps: list[int]) -> Run:
    """The answers of methods of which some read the question; images are encoded once."""
    loaded, registry = scope.load(MODEL), scope.default_registry()
    task = registry.build("task", registry.get("task", TASK).spec())
    scenes = scenes_of(loaded, task, settings)
    methods = [Method(name, keep, pruner(spec, keep)) for name, spec in specs.items() for keep in keeps]
    points = dict.fromkeys(method.pruner.spec.at for method in methods)
    readers = {at: Reader(scope.Pruner({"recipe": "divprune", "budget": 1, "at": at}), SIGNALS) for at in points}
    memo = TensorCache(settings.folder / "features")
    rows: dict[str, list[dict[str, Any]]] = {method.label: [] for method in methods}
    for scene in scenes:
        inputs = [loaded.inputs([scene.image], question.text) for question in scene.example.questions]
        words = [partial(_words, loaded.model, given) for given in inputs]
        for at, reader in readers.items():
            with reader.attach(loaded.model) as pruning:
                encoding = pruning.encode(inputs[0], memo=memo)
                for method in (one for one in methods if one.pruner.spec.at == at):
                    chosen = []
                    for given, text in zip(inputs, words, strict=True):
                        signals = encoding.tokens.signals.beside({"text.embeddings": text})
                        tokens = replace(encoding.tokens, signals=signals)
                        chosen.append(Asked(given, encoding, method.pruner.prune(tokens, encoding.layout)))
                    ids = pruning.answer(chosen, max_new_tokens=task.max_new_tokens)
                    replies = [
                        {"correct": bool(task.correct(question, loaded.decode(row)))}
                        for question, row in zip(scene.example.questions, ids, strict=True)
                    ]
                    rows[method.label].append({"replies": replies, "coverage": None, "objects": None})
    return Run(loaded.name, task, settings, scenes, methods, rows)


def _words(model: Any, given: Any) -> torch.Tensor:
    ids, mask = given["input_ids"], given.get("attention_mask")
    return text_embeddings(model, ids, mask, model.config.image_token_id, [0])


def summary(outcome: Run, comparisons: int = 1) -> list[dict[str, Any]]:
    """A row for each method and budget: accuracy, difference to SCOPE, coverage, share of objects kept."""
    scores = Scores(outcome)
    made = []
    for method in outcome.methods:
        rows = outcome.rows[method.label]
        covered = [row["coverage"][THETAS.index(0.8)] for row in rows if row["coverage"]]
        objects = [kept for row in rows for kept in row["objects"] or ()]
        made.append(
            {
                "name": method.name,
                "keep": method.keep,
                **scores.share(method.label),
                "more": scores.difference(method.label, f"scope@{method.keep}", comparisons),
                "coverage": sum(covered) / len(covered) if covered else None,
                "objects": sum(objects) / len(objects) if objects else None,
            }
        )
    return made


def main() -> None:
    """Measure one part."""
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    if sys.argv[1] == "report":
        by_question = sys.argv[2:3] == ["text"]
        limit = int(sys.argv[3]) if sys.argv[3:] else None
        keeps = [int(keep) for keep in sys.argv[4].split(",")] if sys.argv[4:] else list(KEEPS)
        names = ("scope", "scope_text" if by_question else "scope_plus")
        ask = asked_by_question if by_question else asked
        outcome = ask({name: name for name in names}, Settings("test", limit=limit, folder=default_folder()), keeps)
        found = {"images": len(outcome.scenes), "pairs": PAIRS, "rows": summary(outcome, PAIRS)}
        found["questions"] = found["rows"][0]["questions"]
        results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        results["test_text" if by_question else "test"] = found
    elif sys.argv[1] == "fresh":
        limit, keeps, seed = int(sys.argv[2]), [int(keep) for keep in sys.argv[3].split(",")], int(sys.argv[4])
        results["fresh"] = fresh(limit, keeps, seed, sys.argv[5] if sys.argv[5:] else None)
    else:
        which, limit, keeps = sys.argv[2], int(sys.argv[3]), [int(keep) for keep in sys.argv[4].split(",")]
        specs = {"scope": "scope", **getattr(candidates, which.upper())}
        ask = asked_by_question if which == "text" else asked
        outcome = ask(specs, Settings("validation", limit=limit, folder=default_folder()), keeps)
        results.setdefault("validation", {})[which] = {"images": limit, "rows": summary(outcome)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

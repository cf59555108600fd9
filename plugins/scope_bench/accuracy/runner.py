"""The loop of a benchmark: scene by scene, method by method, writing each row at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scope_bench.accuracy.budgets import OWN, Keep
from scope_bench.accuracy.cache import Journal, TensorCache, code_of, file_name, weights_of
from scope_bench.accuracy.examples import Scene
from scope_bench.accuracy.methods import BLIND, FULL, ORACLE, SHUFFLED, KeepsAll, Method, Skipped
from scope_bench.accuracy.questioner import Answers, Questioner
from scope_core import Registry, ScopeError, TaskError, ZooError
from scope_core.adapters import LoadedModel
from scope_core.cli.methods import naming
from scope_core.tasks import Task

THETAS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds of theta-coverage; a single threshold saturates on some features."""
TIMED = 5
"""Number of scenes for which the time to the first token is measured."""


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
        split: Split of the task.
        limit: Largest number of examples; None for all.
        seed: Seed of the task and of the bootstrap.
        batch: Largest number of prompts per model call.
        folder: Folder of kept rows and features; None keeps nothing.
        fresh: True to discard kept rows.
    """

    split: str
    limit: int | None = None
    seed: int = 0
    batch: int = 64
    folder: Path | None = None
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class Run:
    """The outcome of a benchmark.

    Attributes:
        methods: The methods that were measured.
        rows: ``rows[label][number]`` is the row of a method and a scene.
        skipped: The methods that failed.
    """

    model: str
    task: Task[Any]
    settings: Settings
    scenes: list[Scene]
    methods: list[Method]
    rows: dict[str, list[dict[str, Any]]]
    skipped: list[Skipped] = field(default_factory=list)


def scenes_of(loaded: LoadedModel, task: Task[Any], settings: Settings) -> list[Scene]:
    """The scenes of a split.

    Raises:
        TaskError: the split has no examples, an example has no questions, or ids are not unique.
    """
    task.check_split(settings.split)
    scenes = [Scene(example, loaded.view) for example in task.examples(settings.split, settings.limit, settings.seed)]
    if not scenes:
        raise TaskError(f"split '{settings.split}' of task {task} has no examples (limit {settings.limit})")
    empty = [scene.example.id for scene in scenes if not scene.example.questions]
    if empty:
        raise TaskError(f"example '{empty[0]}' of task {task} has no questions ({len(empty)} such examples)")
    for what, ids in (
        ("examples", [scene.example.id for scene in scenes]),
        ("questions", [question.id for scene in scenes for question in scene.example.questions]),
    ):
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise TaskError(f"two {what} of task {task} have the id '{twice}'; ids must be unique within a split")
    return scenes


def bounds(scenes: Sequence[Scene], keeps: Sequence[Keep], registry: Registry) -> list[Method]:
    """Upper bounds (all tokens, and an oracle if objects are known) and lower bounds (wrong images, no image)."""
    full = Method(FULL, None, KeepsAll(registry), "bound")
    oracles = [Method(ORACLE, keep, KeepsAll(registry), "bound") for keep in keeps if keep != OWN]
    known = all(scene.view is not None for scene in scenes) and any(scene.example.objects for scene in scenes)
    wrong = [Method(SHUFFLED, None, KeepsAll(registry), "bound")] if _donors(scenes) else []
    return [full, *(oracles if known else []), *wrong, Method(BLIND, None, None, "bound")]


def run(
    loaded: LoadedModel,
    task: Task[Any],
    methods: Sequence[Method],
    scenes: Sequence[Scene],
    settings: Settings,
    registry: Registry,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Run:
    """Run all methods on all questions, except those answered in an earlier run.

    Args:
        loaded: The model.
        task: The task.
        methods: From `scope_bench.accuracy.methods.methods_of`, and `bounds`.
        scenes: From `scenes_of`.
        settings: Settings of the benchmark.
        registry: The registry that names are looked up in.
        progress: Called with (finished rows, all rows) after every step.

    A method that fails is left out, with its reason, and the others go on.

    Raises:
        ScopeError: a bound failed, or every method; the message names it and the example.
    """
    started = datetime.now(timezone.utc).isoformat()
    base = {
        "model": loaded.name,
        "weights": weights_of(loaded.model),
        "task": task.spec.name,
        "options": task.spec.model_dump(mode="json"),
        "split": settings.split,
        "seed": settings.seed,
        "length": task.max_new_tokens,
    }
    by_file: dict[Path | None, Journal] = {}  # one spec at two budgets, as 64 and its own, is asked once
    journals = {method.label: _journal(method, base, task, settings, by_file) for method in methods}
    pruners = [method.pruner for method in methods if method.pruner is not None]
    memo = TensorCache(None if settings.folder is None else settings.folder / "features")
    questioner = Questioner(loaded, pruners, registry, memo=memo, batch=settings.batch, length=task.max_new_tokens)
    donors = _donors(scenes) or list(scenes)
    left = Left(methods)
    for method in methods:
        with left.out(method):
            _check_budget(questioner, method, scenes[0])
    total, done = len(scenes) * len(methods), 0
    number = 0
    for chunk in _chunks(scenes, settings.batch):
        for method in methods:
            journal = journals[method.label]
            due = [k for k in range(number, number + len(chunk)) if not _known(journal, method, scenes[k], donors[k])]
            with left.out(method, f", example {', '.join(scenes[k].example.id for k in due[:3])}"):
                if not left.takes_part(method):
                    due = []
                answers = questioner.ask(method, [scenes[k] for k in due], [donors[k] for k in due]) if due else []
                for k, answer in zip(due, answers, strict=True):
                    row = _row(task, method, scenes[k], donors[k], answer)
                    row["first_token_ms"] = questioner.first_token_ms(method, scenes[k]) if k < TIMED else None
                    journal.add(row | {"timed": started})
            done += len(chunk)
            progress(done, total)
        questioner.forget()
        for scene in (*chunk, *donors[number : number + len(chunk)]):
            vars(scene).pop("image", None)  # frees the opened image
        number += len(chunk)
    measured = [method for method in methods if left.takes_part(method)]
    rows = {method.label: [journals[method.label].rows[scene.example.id] for scene in scenes] for method in measured}
    return Run(loaded.name, task, settings, list(scenes), measured, rows, left.skipped)


class Left:
    """The methods that are left in a run; those that failed are left out with the reason.

    Args:
        methods: All methods.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        self.labels = {method.label for method in methods if method.role != "bound"}
        self.skipped: list[Skipped] = []

    def takes_part(self, method: Method) -> bool:
        """True if the method has not failed."""
        return method.role == "bound" or method.label in self.labels

    @contextmanager
    def out(self, method: Method, where: str = "") -> Iterator[None]:
        """Leave a method out if the code inside fails. Bounds may not fail, nor may the last method."""
        try:
            with naming(f"{method.label}{where}"):
                yield
        except (TaskError, ZooError):  # the question or the image, not the method
            raise
        except Exception as error:  # a third-party part may raise anything
            self.labels -= {method.label}
            if method.role == "bound" or not self.labels:
                raise
            named = f"{method.label}{where}: {type(error).__name__}: {error}"
            why = str(error) if isinstance(error, ScopeError) else named
            self.skipped.append(Skipped(method, why))


def _journal(
    method: Method, base: dict[str, Any], task: Task[Any], settings: Settings, by_file: dict[Path | None, Journal]
) -> Journal:
    code = code_of([task, *([] if method.pruner is None else method.pruner.walk())])
    facts = {**base, **method.facts, "code": code}
    path = None if settings.folder is None else settings.folder / "bench" / file_name(facts)
    if path is None or path not in by_file:
        by_file[path] = Journal(path, fresh=settings.fresh)
    return by_file[path]


def _known(journal: Journal, method: Method, scene: Scene, donor: Scene) -> bool:
    row = journal.get(scene.example.id, scene.asked)
    return row is not None and (method.name != SHUFFLED or row["donor"] == donor.example.id)


def _check_budget(questioner: Questioner, method: Method, scene: Scene) -> None:
    """Refuse a budget beyond the tokens of the first image, before any work is done."""
    if method.role != "bound" and method.pruner is not None and id(method.pruner) in questioner.reusing:
        method.pruner.plan(questioner.encode(scene, method.pruner).layout)


def _chunks(scenes: Sequence[Scene], batch: int) -> Iterator[list[Scene]]:
    """Consecutive scenes, as many as fill a batch with their questions."""
    chunk: list[Scene] = []
    for scene in scenes:
        if chunk and sum(len(s.example.questions) for s in (*chunk, scene)) > batch:
            yield chunk
            chunk = []
        chunk.append(scene)
    if chunk:
        yield chunk


def _donors(scenes: Sequence[Scene]) -> list[Scene]:
    """For each scene, the next scene of another group; empty if all are of the same group."""
    groups = [scene.group for scene in scenes]
    if len(set(groups)) < 2:
        return []
    count = len(scenes)
    return [
        next(scenes[(k + step) % count] for step in range(1, count) if groups[(k + step) % count] != groups[k])
        for k in range(count)
    ]


def _row(task: Task[Any], method: Method, scene: Scene, donor: Scene, answers: Answers) -> dict[str, Any]:
    questions = scene.example.questions
    row: dict[str, Any] = {
        "example": scene.example.id,
        "asked": scene.asked,
        "donor": donor.example.id if method.name == SHUFFLED else None,
        "replies": [
            {"id": question.id, "reply": reply, "correct": bool(task.correct(question, reply))}
            for question, reply in zip(questions, answers.replies, strict=True)
        ],
        "kept": None,
        "coverage": None,
        "objects": None,
        "select_ms": None if method.role == "bound" else answers.select_ms,
    }
    selection = answers.selection
    if selection is not None:
        row["kept"] = sum(selection.counts)
        row["coverage"] = selection.coverage(THETAS).mean(0).tolist()
        shares = scene.shares(selection.tokens) if method.name != SHUFFLED else None
        if shares is not None:
            of_object = (shares >= 0.5) | ((shares == shares.amax(1, keepdim=True)) & (shares > 0))
            row["objects"] = [bool(kept) for kept in (of_object & selection.mask[0].cpu()).any(1).tolist()]
    return row

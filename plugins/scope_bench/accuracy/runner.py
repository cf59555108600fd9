"""The loop of a benchmark: scene by scene, method by method, each row kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_bench.accuracy.asking import Answering, Answers
from scope_bench.accuracy.cache import Journal, TensorCache, code_of, file_name, weights_of
from scope_bench.accuracy.examples import Scene
from scope_bench.accuracy.methods import BLIND, FULL, ORACLE, SHUFFLED, KeepsAll, Method
from scope_core import TaskError
from scope_core.cli.methods import naming

if TYPE_CHECKING:
    from scope_core import Registry
    from scope_core.adapters import LoadedModel
    from scope_core.tasks import Task

THETAS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds of theta-coverage; one alone saturates on some features."""
TIMED = 5
"""The first so many scenes are also asked one prompt by itself, to time it."""


@dataclass(frozen=True)
class Settings:
    """How a benchmark is run.

    Attributes:
        split: Of the task.
        limit: Examples at most; None for all.
        seed: Handed to the task, and of the bootstrap.
        batch: Prompts in one call of the model at most.
        folder: Where rows and features are kept; None keeps nothing.
        fresh: Whether rows that were kept are thrown away.
    """

    split: str
    limit: int | None = None
    seed: int = 0
    batch: int = 64
    folder: Path | None = None
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class Run:
    """What came out: ``rows[label][number]`` is the row of a method and a scene."""

    model: str
    task: Task[Any]
    settings: Settings
    scenes: list[Scene]
    methods: list[Method]
    rows: dict[str, list[dict[str, Any]]]


def scenes_of(loaded: LoadedModel, task: Task[Any], settings: Settings) -> list[Scene]:
    """The scenes of a split.

    Raises:
        TaskError: there are none, one has no question, or ids repeat.
    """
    task.check_split(settings.split)
    scenes = [Scene(one, loaded.view) for one in task.examples(settings.split, settings.limit, settings.seed)]
    if not scenes:
        raise TaskError(f"split '{settings.split}' of task {task} has no examples (limit {settings.limit})")
    empty = [scene.example.id for scene in scenes if not scene.example.questions]
    if empty:
        raise TaskError(f"example '{empty[0]}' of task {task} has no question ({len(empty)} such examples)")
    for what, ids in (
        ("examples", [scene.example.id for scene in scenes]),
        ("questions", [question.id for scene in scenes for question in scene.example.questions]),
    ):
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise TaskError(f"two {what} of task {task} have the id '{twice}'; ids must be unique within a split")
    return scenes


def bounds(scenes: Sequence[Scene], keeps: Sequence[int], registry: Registry) -> list[Method]:
    """What bounds everybody from both sides: all tokens and, where objects are known, an oracle; nothing, or wrong."""
    everything = Method(FULL, None, KeepsAll(registry), "bound")
    oracles = [Method(ORACLE, keep, KeepsAll(registry), "bound") for keep in keeps]
    known = all(scene.view is not None for scene in scenes) and any(scene.example.objects for scene in scenes)
    wrong = [Method(SHUFFLED, None, KeepsAll(registry), "bound")] if _donors(scenes) else []
    return [everything, *(oracles if known else []), *wrong, Method(BLIND, None, None, "bound")]


def run(
    loaded: LoadedModel,
    task: Task[Any],
    methods: Sequence[Method],
    scenes: Sequence[Scene],
    settings: Settings,
    registry: Registry,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Run:
    """Ask everybody everything that is not known from an earlier run.

    Args:
        loaded: The model.
        task: Whose questions they are.
        methods: From `scope_bench.accuracy.methods.methods_of`, and `bounds`.
        scenes: From `scenes_of`.
        settings: How.
        registry: Where names are looked up.
        progress: Called with (rows that are there, rows in all) after every step.

    Raises:
        ScopeError: a method cannot do it; names it and the example.
    """
    base = {
        "model": loaded.name,
        "weights": weights_of(loaded.model),
        "task": task.spec.name,
        "options": task.spec.model_dump(mode="json"),
        "split": settings.split,
        "seed": settings.seed,
        "length": task.max_new_tokens,
    }
    journals = {one.label: _journal(one, base, task, settings) for one in methods}
    pruners = [one.pruner for one in methods if one.pruner is not None]
    memo = TensorCache(None if settings.folder is None else settings.folder / "features")
    answering = Answering(loaded, pruners, registry, memo=memo, batch=settings.batch, length=task.max_new_tokens)
    donors = _donors(scenes) or list(scenes)
    _check_budgets(answering, methods, scenes[0])
    total, done = len(scenes) * len(methods), 0
    number = 0
    for chunk in _chunks(scenes, settings.batch):
        for one in methods:
            journal = journals[one.label]
            due = [k for k in range(number, number + len(chunk)) if not _known(journal, one, scenes[k], donors[k])]
            with naming(f"{one.label}, example {', '.join(scenes[k].example.id for k in due[:3])}"):
                answers = answering.ask(one, [scenes[k] for k in due], [donors[k] for k in due]) if due else []
                for k, said in zip(due, answers, strict=True):
                    row = _row(task, one, scenes[k], donors[k], said)
                    row["first_token_ms"] = answering.first_token_ms(one, scenes[k]) if k < TIMED else None
                    journal.add(row)
            done += len(chunk)
            progress(done, total)
        answering.forget()
        for scene in (*chunk, *donors[number : number + len(chunk)]):
            vars(scene).pop("image", None)  # an opened image is not kept beyond its turn
        number += len(chunk)
    rows = {one.label: [journals[one.label].rows[scene.example.id] for scene in scenes] for one in methods}
    return Run(loaded.name, task, settings, list(scenes), list(methods), rows)


def _journal(one: Method, base: dict[str, Any], task: Task[Any], settings: Settings) -> Journal:
    code = code_of([task, *([] if one.pruner is None else one.pruner.walk())])
    facts = {**base, **one.facts, "code": code}
    path = None if settings.folder is None else settings.folder / "bench" / file_name(facts)
    return Journal(path, fresh=settings.fresh)


def _known(journal: Journal, one: Method, scene: Scene, donor: Scene) -> bool:
    row = journal.get(scene.example.id, scene.asked)
    return row is not None and (one.name != SHUFFLED or row["donor"] == donor.example.id)


def _check_budgets(answering: Answering, methods: Sequence[Method], scene: Scene) -> None:
    """Refuse budgets beyond the first image's tokens before anything is run."""
    for one in methods:
        if one.role != "bound" and one.pruner is not None and id(one.pruner) in answering.reusing:
            with naming(one.label):
                one.pruner.plan(answering.encode(scene, one.pruner).layout)


def _chunks(scenes: Sequence[Scene], batch: int) -> Iterator[list[Scene]]:
    """Scenes whose questions fill a batch."""
    chunk: list[Scene] = []
    for scene in scenes:
        if chunk and sum(len(s.example.questions) for s in (*chunk, scene)) > batch:
            yield chunk
            chunk = []
        chunk.append(scene)
    if chunk:
        yield chunk


def _donors(scenes: Sequence[Scene]) -> list[Scene]:
    """For each scene the next one that is not of its group; empty where all are of one group."""
    groups = [scene.group for scene in scenes]
    if len(set(groups)) < 2:
        return []
    count = len(scenes)
    return [
        next(scenes[(k + step) % count] for step in range(1, count) if groups[(k + step) % count] != groups[k])
        for k in range(count)
    ]


def _row(task: Task[Any], one: Method, scene: Scene, donor: Scene, said: Answers) -> dict[str, Any]:
    questions = scene.example.questions
    row: dict[str, Any] = {
        "example": scene.example.id,
        "asked": scene.asked,
        "donor": donor.example.id if one.name == SHUFFLED else None,
        "replies": [
            {"id": question.id, "reply": reply, "correct": bool(task.correct(question, reply))}
            for question, reply in zip(questions, said.replies, strict=True)
        ],
        "kept": None,
        "coverage": None,
        "objects": None,
        "select_ms": None if one.role == "bound" else said.select_ms,
    }
    selection = said.selection
    if selection is not None:
        row["kept"] = sum(selection.counts)
        row["coverage"] = selection.coverage(THETAS).mean(0).tolist()
        shares = scene.shares(selection.tokens) if one.name != SHUFFLED else None
        if shares is not None:
            of_object = (shares >= 0.5) | ((shares == shares.amax(1, keepdim=True)) & (shares > 0))
            row["objects"] = [bool(kept) for kept in (of_object & selection.mask[0].cpu()).any(1).tolist()]
    return row

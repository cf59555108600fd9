"""Properties of tasks: splits, examples, images, and the rule that scores replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scope_core.errors import ScopeError, TaskError
from scope_core.images import read_images
from scope_core.parts.task import Box, Example, Outcome, Question, plain
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.subject import Subject

FEW = 4
"""Number of examples that are looked at in each split."""
NO_SPLIT = "no such split"


def splits_are_named(subject: Subject, case: Case) -> None:
    """There is at least one split, each has a name of its own, and any other name is refused with a `TaskError`."""
    splits = subject.part().splits
    named = isinstance(splits, tuple) and splits and all(isinstance(name, str) and name.strip() for name in splits)
    if not named or len(set(splits)) < len(splits):
        raise PropertyViolation(f"`splits` is {splits!r}; expected a tuple of different names, the default one first")
    try:
        subject.part().examples(NO_SPLIT, FEW)
    except TaskError:
        return
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(f"examples({NO_SPLIT!r}) {raised(error)}; call self.check_split(split)") from error
    raise PropertyViolation(f"examples({NO_SPLIT!r}) refused nothing; call self.check_split(split)")


def examples_have_questions_and_ids(subject: Subject, case: Case) -> None:
    """Every example has questions, and ids are not used twice within a split."""
    for split in subject.part().splits:
        found = _examples(subject, split, None if split == subject.part().splits[0] else FEW)
        if not found:
            raise PropertyViolation(f"split '{split}' has no examples")
        questions: list[str] = []
        for example in found:
            if not isinstance(example, Example) or not callable(example.image):
                raise PropertyViolation(f"split '{split}' holds {example!r}; expected an Example with image=function")
            if not example.questions or not all(isinstance(one, Question) for one in example.questions):
                raise PropertyViolation(f"example '{example.id}' has questions={example.questions!r}; expected some")
            questions += [question.id for question in example.questions]
        for what, ids in (("examples", [example.id for example in found]), ("questions", questions)):
            twice = next((name for name in ids if ids.count(name) > 1), None) if len(set(ids)) < len(ids) else None
            if twice is not None:
                raise PropertyViolation(f"two {what} of split '{split}' have the id '{twice}'")


def examples_are_the_same_each_time(subject: Subject, case: Case) -> None:
    """The same split, limit and seed give the same examples, with the same images."""
    for split in subject.part().splits:
        first, again = (_examples(subject, split, FEW) for _ in range(2))
        if [_facts(example) for example in first] != [_facts(example) for example in again]:
            raise PropertyViolation(f"examples('{split}', {FEW}) gave other examples the second time; use the seed")
        for one, other in zip(first, again, strict=True):
            if _pixels(one) != _pixels(other):
                raise PropertyViolation(f"example '{one.id}' has another image the second time")


def limits_are_met(subject: Subject, case: Case) -> None:
    """With a limit there are no more examples than that."""
    for limit in (1, FEW):
        found = _examples(subject, subject.part().splits[0], limit)
        if not 1 <= len(found) <= limit:
            raise PropertyViolation(f"with limit={limit} there are {len(found)} examples")


def images_can_be_read(subject: Subject, case: Case) -> None:
    """Every image can be read, more than once, and boxes lie inside it."""
    for split in subject.part().splits:
        for example in _examples(subject, split, FEW):
            size = _pixels(example)[0]
            if _pixels(example)[0] != size:
                raise PropertyViolation(f"the image of example '{example.id}' has another size the second time")
            for box in example.objects:
                inside = isinstance(box, Box) and 0 <= box.x0 < box.x1 <= size[0] and 0 <= box.y0 < box.y1 <= size[1]
                if not inside:
                    raise PropertyViolation(f"{box!r} of example '{example.id}' is not inside its image of {size}")


def right_answers_are_right(subject: Subject, case: Case) -> None:
    """The answer itself counts as right, and no reply at all as wrong."""
    task = subject.part()
    for example in _examples(subject, task.splits[0], FEW):
        for question in example.questions:
            if not task.correct(question, question.answer):
                raise PropertyViolation(f"correct() refuses the answer {question.answer!r} of question '{question.id}'")
            if plain(question.answer) and task.correct(question, ""):
                raise PropertyViolation(f"correct() takes an empty reply to question '{question.id}'")


def metrics_are_shares(subject: Subject, case: Case) -> None:
    """`metrics` gives shares in 0..1, among them `accuracy`, which is 1 if all replies are right and 0 if none is."""
    task = subject.part()
    for right in (True, False):
        outcomes = [
            Outcome(example.id, example.group or example.id, question, question.answer if right else "", right)
            for example in _examples(subject, task.splits[0], FEW)
            for question in example.questions
        ]
        try:
            scores = dict(task.metrics(outcomes))
        except Exception as error:  # third-party code may raise anything
            raise PropertyViolation(
                f"metrics() {raised(error)} if {'all' if right else 'no'} replies are right"
            ) from error
        for name, score in scores.items():
            if not isinstance(score, (int, float)) or not 0 <= score <= 1:
                raise PropertyViolation(f"metrics() gives {name}={score!r}; expected a share in 0..1")
        if scores.get("accuracy") != float(right):
            words = "all" if right else "no"
            raise PropertyViolation(f"accuracy is {scores.get('accuracy')!r} if {words} replies are right")


def _examples(subject: Subject, split: str, limit: int | None) -> Sequence[Example]:
    """The examples of a split, from a fresh task."""
    try:
        found: Sequence[Example] = subject.part().examples(split, limit)
    except ScopeError as error:
        raise PropertyViolation(f"examples('{split}', {limit}): {error}") from error
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(f"examples('{split}', {limit}) {raised(error)}") from error
    return found


def _facts(example: Example) -> tuple[Any, ...]:
    return example.id, example.questions, example.objects, example.group


def _pixels(example: Example) -> tuple[tuple[int, int], bytes]:
    """Size and content of an example's image."""
    where = f"the image of example '{example.id}'"
    try:
        (image,) = read_images([example.image()])
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(f"{where} cannot be read: it {raised(error)}") from error
    return image.size, image.tobytes()

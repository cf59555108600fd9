"""Tasks: questions about images, with known answers, to measure a pruner's accuracy with.

Importing this module loads neither torch nor Pillow, so that tasks can be listed without them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scope_core.errors import TaskError, did_you_mean, listed
from scope_core.parts.base import Part, S

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Box:
    """Where an object is, in pixels of the image as `Example.image` returns it; right and bottom edge excluded.

    Attributes:
        label: Class of the object.
        x0: Left edge.
        y0: Top edge.
        x1: Right edge.
        y1: Bottom edge.
    """

    label: str
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Question:
    """One question about an image.

    Attributes:
        id: Unique within the split.
        text: As the model is asked.
        answer: The right answer.
        kind: What it asks for, e.g. ``"existence"``; accuracy is reported for each kind.
        choices: Possible answers, where they are few; empty where anything may be said.
        size: Longer side in pixels of the smallest object that has to be seen to answer; None where there is none.
        tags: Further groups it belongs to, e.g. ``("adversarial",)``.
    """

    id: str
    text: str
    answer: str
    kind: str = "question"
    choices: tuple[str, ...] = ()
    size: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """An image and the questions about it.

    Attributes:
        id: Unique within the split.
        image: Opens the image; called when it is needed, perhaps more than once, and always with the same result.
        questions: At least one.
        objects: What is in the image, where that is known; empty where it is not.
        group: Examples of one group are not independent (the same photograph, the same video): intervals are
            clustered by it. The example's own id where left out.
    """

    id: str
    image: Callable[[], Image]
    questions: tuple[Question, ...]
    objects: tuple[Box, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a model replied to one question.

    Attributes:
        example: Id of the example.
        group: What intervals are clustered by.
        question: The question.
        reply: What the model said.
        correct: Whether that is right, by the task's own rule.
    """

    example: str
    group: str
    question: Question
    reply: str
    correct: bool


class Task(Part[S]):
    """Images, questions and answers in splits, and how replies are scored.

    Attributes:
        max_new_tokens: How long a reply may be, in tokens.
    """

    max_new_tokens: int = 16

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; the first is used where none is named."""
        return ("test",)

    @abstractmethod
    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Example]:
        """The examples of a split, always the same ones in the same order.

        Args:
            split: One of `splits`; `check_split` refuses others.
            limit: At most so many; they should be as varied as the whole split. None for all.
            seed: Of whatever is drawn at random, where a split is not fixed.

        Raises:
            TaskError: there is no such split, or its files cannot be read.
        """

    def correct(self, question: Question, reply: str) -> bool:
        """Whether ``reply`` is right: the same words as the answer, whatever the case and punctuation around them."""
        return plain(reply) == plain(question.answer)

    def metrics(self, outcomes: Sequence[Outcome]) -> Mapping[str, float]:
        """Scores of one run over all its outcomes, in 0..1; ``accuracy`` is one of them."""
        return {"accuracy": sum(outcome.correct for outcome in outcomes) / len(outcomes)}

    def check_split(self, split: str) -> None:
        """Refuse what is no split of this task.

        Raises:
            TaskError: names the splits there are.
        """
        if split not in self.splits:
            raise TaskError(
                f"task {self} has no split '{split}'{did_you_mean(split, self.splits)}. Splits: {listed(self.splits)}"
            )


def plain(text: str) -> str:
    """``" A dog. "`` as ``"a dog"``: lower case, single spaces, no punctuation at the ends."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'")

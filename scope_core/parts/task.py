"""`Task`: questions about images, with known answers, which measure a pruner's accuracy.

Importing this module loads neither torch nor Pillow, so tasks can be listed without them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scope_core.display import brief_repr
from scope_core.errors import TaskError, did_you_mean, listed
from scope_core.parts.base import Part, S


@dataclass(frozen=True)
class Box:
    """The bounding box of an object, in pixels of the image that `Example.image` returns, upright as its EXIF says.

    Attributes:
        label: Class of the object.
        x0: Left edge.
        y0: Top edge.
        x1: Right edge, excluded.
        y1: Bottom edge, excluded.
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
        text: The question, as the model gets it.
        answer: The right answer.
        kind: What the question asks for, e.g. ``"existence"``; accuracy is reported for each kind.
        choices: Possible answers, if they are few; empty for open questions.
        size: Longer side in pixels of the smallest object that has to be seen to answer; None if no object has to be.
        tags: Further groups that the question belongs to, e.g. ``("adversarial",)``.
    """

    id: str
    text: str
    answer: str
    kind: str = "question"
    choices: tuple[str, ...] = ()
    size: float | None = None
    tags: tuple[str, ...] = ()

    __repr__ = brief_repr


@dataclass(frozen=True)
class Example:
    """An image and the questions about it.

    Attributes:
        id: Unique within the split.
        image: Opens the image, or names its file. It may be called several times and must always return the same.
        questions: At least one.
        objects: The objects in the image; empty if unknown.
        group: Examples of one group are not independent (e.g. frames of one video), and confidence intervals are
            clustered by group. The example's id if left out.
    """

    id: str
    image: Callable[[], Any]
    questions: tuple[Question, ...]
    objects: tuple[Box, ...] = ()
    group: str = ""

    __repr__ = brief_repr


@dataclass(frozen=True)
class Outcome:
    """A model's reply to one question.

    Attributes:
        example: Id of the example.
        group: Group of the example, by which confidence intervals are clustered.
        question: The question.
        reply: The model's reply.
        correct: True if the task counts the reply as right.
    """

    example: str
    group: str
    question: Question
    reply: str
    correct: bool

    __repr__ = brief_repr


class Task(Part[S]):
    """Images with questions and answers, in splits, and the rule that scores replies.

    Attributes:
        max_new_tokens: Maximal length of a reply, in tokens.
    """

    max_new_tokens: int = 16

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; the first is the default."""
        return ("test",)

    @abstractmethod
    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Example]:
        """The examples of a split: for the same arguments always the same ones in the same order.

        Args:
            split: One of `splits`; `check_split` refuses others.
            limit: Maximal number of examples, which should be as varied as the whole split; None for all.
            seed: Random seed, for tasks that generate their examples.

        Raises:
            TaskError: there is no such split, or its files cannot be read.
        """

    def correct(self, question: Question, reply: str) -> bool:
        """True if ``reply`` has the same words as the answer; case and surrounding punctuation are ignored."""
        return plain(reply) == plain(question.answer)

    def metrics(self, outcomes: Sequence[Outcome]) -> Mapping[str, float]:
        """Scores over all outcomes of one run, each in 0..1; ``accuracy`` is one of them."""
        return {"accuracy": sum(outcome.correct for outcome in outcomes) / len(outcomes)}

    def check_split(self, split: str) -> None:
        """Refuse a split that this task does not have.

        Raises:
            TaskError: there is no such split; names those there are.
        """
        if split not in self.splits:
            raise TaskError(
                f"task {self} has no split '{split}'{did_you_mean(split, self.splits)}. Splits: {listed(self.splits)}"
            )


def plain(text: str) -> str:
    """``" A dog. "`` as ``"a dog"``: lower case, single spaces, no punctuation at the ends."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'")

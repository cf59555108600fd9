"""Tasks that break one promise each, as authors break them."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from PIL import Image

from scope_core.parts import ComponentSpec
from scope_core.tasks import Box, Example, Question, Task

COUNTER = itertools.count()


class CountingSpec(ComponentSpec):
    """Made for tests."""

    name: Literal["acme.counting"] = "acme.counting"


class Counting(Task[CountingSpec]):
    """Grey images; correct."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Two."""
        return ("test", "validation")

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Any:
        """Six."""
        self.check_split(split)
        return [self.one(k) for k in range(6)][:limit]

    def one(self, k: int) -> Example:
        """One example."""
        question = Question(f"{k}", "how dark?", str(k))
        return Example(f"{k} grey", lambda: Image.new("L", (20, 10), k), (question,), (Box("x", 0, 0, 20, 10),))


class Deaf(Counting):
    """Takes any split."""

    def check_split(self, split: str) -> None:
        """Refuses nothing."""


class Nameless(Counting):
    """Two splits of one name."""

    splits = ("test", "test")


class Mute(Counting):
    """No questions."""

    def one(self, k: int) -> Example:
        """One example."""
        return Example(f"{k}", lambda: Image.new("L", (9, 9)), ())


class Twins(Counting):
    """Question ids that repeat."""

    def one(self, k: int) -> Example:
        """One example."""
        return Example(f"{k}", lambda: Image.new("L", (9, 9)), (Question("q", "how?", "so"),))


class Moody(Counting):
    """Other answers every time."""

    def one(self, k: int) -> Example:
        """One example."""
        return Example(f"{k}", lambda: Image.new("L", (9, 9)), (Question(f"{k}", "how?", str(next(COUNTER))),))


class Flickering(Counting):
    """Other pixels every time."""

    def one(self, k: int) -> Example:
        """One example."""
        shade = lambda: Image.new("L", (9, 9), next(COUNTER) % 251)  # noqa: E731
        return Example(f"{k}", shade, (Question(f"{k}", "how?", "so"),))


class Boundless(Counting):
    """Ignores the limit."""

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Any:
        """All."""
        return super().examples(split, None)


class Blind(Counting):
    """An image that is none."""

    def one(self, k: int) -> Example:
        """One example."""
        return Example(f"{k}", lambda: f"gone-{k}.png", (Question(f"{k}", "how?", "so"),))


class Outside(Counting):
    """A box beyond the image."""

    def one(self, k: int) -> Example:
        """One example."""
        boxes = (Box("x", 0, 0, 10, 9),)
        return Example(f"{k}", lambda: Image.new("L", (9, 9)), (Question(f"{k}", "how?", "so"),), boxes)


class Harsh(Counting):
    """Takes no answer."""

    def correct(self, question: Question, reply: str) -> bool:
        """Never."""
        return False


class Lenient(Counting):
    """Takes every reply."""

    def correct(self, question: Question, reply: str) -> bool:
        """Always."""
        return True


class Percent(Counting):
    """Scores beyond 1."""

    def metrics(self, outcomes: Any) -> Any:
        """In percent."""
        return {"accuracy": 100 * sum(one.correct for one in outcomes) / len(outcomes)}


class Dividing(Counting):
    """Fails if no reply is right."""

    def metrics(self, outcomes: Any) -> Any:
        """A ratio."""
        right = sum(one.correct for one in outcomes)
        return {"accuracy": right / len(outcomes), "odd": len(outcomes) / right}


BROKEN = [
    (Deaf, "splits_are_named"), (Nameless, "splits_are_named"), (Mute, "examples_have_questions_and_ids"),
    (Twins, "examples_have_questions_and_ids"), (Moody, "examples_are_the_same_each_time"),
    (Flickering, "examples_are_the_same_each_time"), (Boundless, "limits_are_met"), (Blind, "images_can_be_read"),
    (Outside, "images_can_be_read"), (Harsh, "right_answers_are_right"), (Lenient, "right_answers_are_right"),
    (Percent, "metrics_are_shares"), (Dividing, "metrics_are_shares"),
]  # fmt: skip
"""``(task, the property that catches it)``."""

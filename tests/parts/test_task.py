"""The contract of tasks: what a reply is worth, and what is refused."""

from __future__ import annotations

from typing import Literal

import pytest
from PIL import Image

import scope_core as scope
from scope_core.parts import ComponentSpec, Entry, SaliencySource
from scope_core.parts.task import plain
from scope_core.tasks import Example, Outcome, Question, Task


class TwoSpec(ComponentSpec):
    """Two examples."""

    name: Literal["acme.two"] = "acme.two"


class Two(Task[TwoSpec]):
    """As little as a task can be."""

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> list[Example]:
        self.check_split(split)
        questions = tuple(Question(f"{k}", "what?", "A dog.") for k in range(2))
        return [Example("one", lambda: Image.new("RGB", (8, 8)), questions)][:limit]


def outcome(correct: bool) -> Outcome:
    return Outcome("one", "one", Question("0", "what?", "a dog"), "a dog", correct)


@pytest.mark.parametrize(
    ("reply", "right"),
    [("a dog", True), (" A  Dog!\n", True), ('"a dog."', True), ("dog", False), ("a dog house", False), ("", False)],
)
def test_replies_are_compared_word_by_word(reply: str, right: bool) -> None:
    task = Two(TwoSpec())
    assert task.correct(task.examples("test")[0].questions[0], reply) is right


def test_accuracy_is_the_only_metric_unless_a_task_has_more() -> None:
    assert Two(TwoSpec()).metrics([outcome(True), outcome(False), outcome(True), outcome(True)]) == {"accuracy": 0.75}


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(scope.TaskError, match=r"no split 'tset' \(did you mean 'test'\?\). Splits: test"):
        Two(TwoSpec()).examples("tset")


def test_a_task_is_a_part_like_others(registry: scope.Registry) -> None:
    from fakes import module

    more = registry.with_module(module(scope_tasks=[Entry(TwoSpec, Two, "two examples")]))
    record = more.get("task", "acme.two")
    assert record.target is Two
    assert isinstance(more.build("task", TwoSpec()), Task)
    wrong = registry.with_module(module(scope_tasks=[Entry(TwoSpec, SaliencySource, "no task")]))
    with pytest.raises(scope.PluginError, match=r"not a subclass of scope_core\.tasks\.Task"):
        _ = wrong.get("task", "acme.two").target


def test_plain() -> None:
    assert plain("  Upper   LEFT.  ") == "upper left"
    assert plain("12") == "12"

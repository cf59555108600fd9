"""POPE: its file format, its reading of replies, and its five scores, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import scope_core as scope
from scope_bench.accuracy.task_choice import read_task
from scope_core.tasks import Outcome, Question, Task

ROWS = [
    {"question_id": 1, "image": "a.jpg", "text": "Is there a snowboard in the image?", "label": "yes"},
    {"question_id": 2, "image": "a.jpg", "text": "Is there a dining table in the image?", "label": "no"},
    {"question_id": 3, "image": "b.jpg", "text": "Is there a car in the image?", "label": "yes"},
    {"question_id": 4, "image": "b.jpg", "text": "Is there a dog in the image?", "label": "no"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("coco_pope_random", "coco_pope_adversarial"):
        lines = "\n".join(map(json.dumps, ROWS)) + "\n\n"
        (tmp_path / f"{split}.json").write_text(lines, encoding="utf-8")
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30), "red").save(tmp_path / name)
    return tmp_path


def pope(questions: Path, images: Path, **more: Any) -> Task:
    table = json.dumps({"name": "pope", "questions": str(questions), "images": str(images), **more})
    return read_task(table, scope.default_registry())


def outcomes(task: Task, replies: list[str]) -> list[Outcome]:
    questions = [question for example in task.examples(task.splits[0]) for question in example.questions]
    return [
        Outcome("x", "x", question, reply, task.correct(question, reply))
        for question, reply in zip(questions, replies, strict=True)
    ]


def test_a_file_of_questions(folder: Path) -> None:
    task = pope(folder / "coco_pope_random.json", folder)
    assert task.splits == ("coco_pope_random",)
    examples = task.examples("coco_pope_random")
    assert [(example.id, len(example.questions)) for example in examples] == [("a.jpg", 2), ("b.jpg", 2)]
    assert examples[0].questions[1] == Question(
        "2", "Is there a dining table in the image?", "no", "existence", ("yes", "no")
    )
    assert examples[1].image().size == (40, 30)
    assert [example.id for example in task.examples("coco_pope_random", limit=1)] == ["a.jpg"]


def test_a_folder_of_files_is_splits(folder: Path) -> None:
    task = pope(folder, folder, suffix="Answer in one word.")
    assert task.splits == ("coco_pope_adversarial", "coco_pope_random")
    assert task.examples("coco_pope_adversarial")[0].questions[0].text.endswith("image? Answer in one word.")
    with pytest.raises(scope.TaskError, match="did you mean 'coco_pope_random'"):
        task.examples("coco_pope_rando")


@pytest.mark.parametrize(
    ("reply", "yes"),
    [
        ("Yes, there is a dog. No cat though.", True),
        ("No, there is not.", False),
        ("There is not a dog", False),
        ("no", False),
        ("None that I can see", True),  # only the words No, no and not count
        ("Yes. No.", True),  # the first sentence alone
        ("A dog, no, two", False),
        ("", True),
        ("NO", True),  # as published: case matters
    ],
)
def test_how_replies_are_read(folder: Path, reply: str, yes: bool) -> None:
    task = pope(folder, folder)
    assert task.correct(Question("1", "?", "yes"), reply) is yes
    assert task.correct(Question("1", "?", "no"), reply) is not yes


def test_the_scores_by_hand(folder: Path) -> None:
    """Truth yes no yes no; said yes yes no no: one of each kind."""
    task = pope(folder, folder)
    found = task.metrics(outcomes(task, ["Yes", "Yes, there is.", "no", "No"]))
    assert found == {"accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "yes_ratio": 0.5}
    found = task.metrics(outcomes(task, ["yes", "yes", "yes", "no"]))
    assert found == {
        "accuracy": 0.75,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "yes_ratio": 0.75,
    }


@pytest.mark.parametrize(("reply", "ratio"), [("no", 0.0), ("yes", 1.0)])
def test_who_always_says_the_same(folder: Path, reply: str, ratio: float) -> None:
    task = pope(folder, folder)
    found = task.metrics(outcomes(task, [reply] * 4))
    assert (found["accuracy"], found["yes_ratio"], found["recall"]) == (0.5, ratio, ratio)
    assert found["f1"] == pytest.approx(2 * 0.5 * ratio / (0.5 + ratio))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_the_scores_against_counting(pairs: list[tuple[bool, bool]]) -> None:
    task = read_task("{name: pope, questions: q.json, images: .}", scope.default_registry())
    made = [
        Outcome("x", "x", Question("1", "?", "yes" if truth else "no"), "yes" if said else "no", False)
        for truth, said in pairs
    ]
    tp = sum(1 for truth, said in pairs if truth and said)
    fp = sum(1 for truth, said in pairs if not truth and said)
    fn = sum(1 for truth, said in pairs if truth and not said)
    tn = len(pairs) - tp - fp - fn
    found = task.metrics(made)
    assert found["accuracy"] == pytest.approx((tp + tn) / len(pairs))
    assert found["yes_ratio"] == pytest.approx((tp + fp) / len(pairs))
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn) if tp else 0.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question_id": 1, "image": "a.jpg", "text": "?"}', "line 2 is not a question (KeyError: 'label')"),
        ('{"question_id": 1, "image": "a.jpg", "text": "?", "label": "maybe"}', "label is 'maybe'; expected yes or no"),
        ("not json", "line 2 is not a question (JSONDecodeError"),
        ("[1]", "line 2 is not a question (TypeError"),
    ],
)
def test_lines_that_are_no_questions(folder: Path, line: str, message: str) -> None:
    path = folder / "odd.json"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line, encoding="utf-8")
    with pytest.raises(scope.TaskError) as caught:
        pope(path, folder).examples("odd")
    assert message in str(caught.value)


def test_files_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(scope.TaskError, match=r"cannot be read.*option questions"):
        pope(folder / "gone.json", folder).examples("gone")
    (folder / "empty").mkdir()
    with pytest.raises(scope.TaskError, match=r"has no \.json file"):
        _ = pope(folder / "empty", folder).splits
    (folder / "a.jpg").unlink()
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:200])
    for example in pope(folder, folder).examples("coco_pope_random"):
        with pytest.raises(scope.TaskError, match=f"{example.id}' cannot be read.*option images"):
            example.image()
    with pytest.raises(scope.SpecError, match=r"task '\{.*questions"):
        read_task("{name: pope, images: .}", scope.default_registry())

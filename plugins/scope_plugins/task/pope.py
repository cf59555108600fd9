"""POPE: yes-or-no questions about objects, from its own question files.

Paper: Evaluating Object Hallucination in Large Vision-Language Models, arXiv 2305.10355.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL.Image import Image

from scope_core import TaskError, ZooError
from scope_core.adapters import upright_rgb
from scope_core.parts import ComponentSpec
from scope_core.tasks import Example, Outcome, Question, Task


class PopeSpec(ComponentSpec):
    """POPE's question files: one JSON object per line, with question_id, image, text and label."""

    name: Literal["pope"] = "pope"
    questions: str
    """A question file, e.g. coco_pope_random.json, or a folder of question files; each file is a split."""
    images: str
    """Folder of the images that the questions name."""
    suffix: str = ""
    """Text added to every question, e.g. an instruction to answer in one word."""


class Pope(Task[PopeSpec]):
    """Does the model see objects that are not in the image? Use it to measure object hallucination on photographs.

    A reply counts as no if its first sentence contains the word "no" or "not", otherwise as yes.
    Source: POPE, arXiv 2305.10355.
    """

    max_new_tokens = 16

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the question files, without their endings."""
        return tuple(self._files())

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Example]:
        """One example per image, in the order of the file."""
        self.check_split(split)
        path = self._files()[split]
        questions: dict[str, list[Question]] = {}
        for number, line in enumerate(_text(path).splitlines(), 1):
            if line.strip():
                image, question = self._question(line, f"{path}, line {number}")
                questions.setdefault(image, []).append(question)
        images = Path(self.spec.images)
        return [Example(name, _ImageFile(images / name), tuple(asked)) for name, asked in [*questions.items()][:limit]]

    def correct(self, question: Question, reply: str) -> bool:
        """True if the reply says yes or no as the answer does."""
        return said_yes(reply) == (question.answer == "yes")

    def metrics(self, outcomes: Sequence[Outcome]) -> Mapping[str, float]:
        """Accuracy, precision, recall and F1 of "yes", and the share of "yes"; 0 where a ratio is undefined."""
        yes = [said_yes(outcome.reply) for outcome in outcomes]
        right = [outcome.question.answer == "yes" for outcome in outcomes]
        both = sum(a and b for a, b in zip(yes, right, strict=True))
        precision, recall = both / max(sum(yes), 1), both / max(sum(right), 1)
        return {
            "accuracy": sum(a == b for a, b in zip(yes, right, strict=True)) / len(outcomes),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if both else 0.0,
            "yes_ratio": sum(yes) / len(outcomes),
        }

    def _files(self) -> dict[str, Path]:
        path = Path(self.spec.questions)
        if not path.is_dir():
            return {path.stem: path}
        found = {file.stem: file for file in sorted([*path.glob("*.json"), *path.glob("*.jsonl")])}
        if not found:
            raise TaskError(f"pope: folder '{path}' has no .json file; POPE's are named like coco_pope_random.json")
        return found

    def _question(self, line: str, where: str) -> tuple[str, Question]:
        try:
            row: Any = json.loads(line)
            image, text, label = str(row["image"]), str(row["text"]), str(row["label"]).strip().lower()
            number = str(row["question_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise TaskError(
                f"pope: {where} is not a question ({type(error).__name__}: {error}); expected one JSON object per line "
                f"with question_id, image, text and label"
            ) from error
        if label not in ("yes", "no"):
            raise TaskError(f"pope: {where}: label is '{row['label']}'; expected yes or no")
        text = f"{text} {self.spec.suffix}".strip()
        return image, Question(f"{number}", text, label, "existence", ("yes", "no"))


def said_yes(reply: str) -> bool:
    """True unless the first sentence has the word "no" or "not", as in POPE's evaluation; commas are ignored."""
    words = reply.split(".", 1)[0].replace(",", "").split()
    return not any(word in ("No", "no", "not") for word in words)


class _ImageFile:
    """A function that opens one image file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> Image:
        try:
            return upright_rgb(self.path)
        except ZooError as error:
            raise TaskError(
                f"pope: image '{self.path}' cannot be read: {error}. Check the task's option images"
            ) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            f"pope: question file '{path}' cannot be read: {error}. Check the task's option questions"
        ) from error

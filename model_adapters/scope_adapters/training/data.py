"""Training data, from a task's examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_adapters.training.features import Features
from scope_adapters.training.prompts import Asked, Words
from scope_adapters.training.stages import Data
from scope_adapters.training.vocabulary import SPECIAL, UNKNOWN, tokenizer
from scope_core import ZooError, default_registry
from scope_core.tasks import Question, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORDINGS = ("short", "varied", "test")
"""Wordings of the questions about each scene."""


def task(*, sprites: Path | None, photographs: Path | None, wording: str, scenes: int) -> Task[Any]:
    """The installed ``scenes`` task, with all questions about varied training scenes."""
    registry = default_registry()
    folders = {"sprites": sprites, "photographs": photographs}
    options: dict[str, Any] = {name: str(folder) for name, folder in folders.items() if folder is not None}
    options |= {"wording": wording, "scenes": scenes, "ask": "everything", "vary": True}
    scenes_task: Task[Any] = registry.build("task", registry.get("task", "scenes").spec.model_validate(options))
    return scenes_task


def gather(
    features: Features, asked: Sequence[Sequence[Question]], words: PreTrainedTokenizerFast | None = None
) -> tuple[Data, PreTrainedTokenizerFast]:
    """Training data, and the tokenizer of all its words.

    Args:
        features: Features of the scenes.
        asked: Questions about each scene.
        words: Tokenizer of a model to train further; by default a new one.

    Raises:
        ZooError: ``words`` lacks a class.
    """
    labels = sorted({box.label for boxes in features.objects for box in boxes})
    if words is not None:
        return _prepared(features, asked, words, _labels(words, labels)), words
    texts = {text for questions in asked for q in questions for text in (q.text, q.answer)}
    texts |= {"yes no", UNKNOWN, "a an", " ".join(map(str, range(10)))}
    words = tokenizer(labels, texts)
    return _prepared(features, asked, words, labels), words


def _labels(words: PreTrainedTokenizerFast, seen: Sequence[str]) -> list[str]:
    """The classes of a tokenizer, in order: its first words, up to the last class in ``seen``."""
    ids = [words.convert_tokens_to_ids(label) for label in seen]
    if words.unk_token_id in ids:
        raise ZooError(f"the tokenizer has no word for '{seen[ids.index(words.unk_token_id)]}'")
    return [str(word) for word in words.convert_ids_to_tokens(range(len(SPECIAL), max(ids) + 1))]


def _prepared(
    features: Features, asked: Sequence[Sequence[Question]], words: PreTrainedTokenizerFast, labels: Sequence[str]
) -> Data:
    number = {label: index for index, label in enumerate(labels, 1)}
    known = frozenset(range(len(SPECIAL), len(SPECIAL) + len(labels)))
    cache: dict[str, tuple[int, ...]] = {}

    def ids(text: str) -> tuple[int, ...]:
        if text not in cache:
            cache[text] = tuple(words(text)["input_ids"][1:])
        return cache[text]

    pools = [
        [Asked(q.kind, ids(q.text), ids(q.answer)[0], tuple(i for i in ids(q.text) if i in known)) for q in questions]
        for questions in asked
    ]
    yes, no, unknown = (ids(word)[0] for word in ("yes", "no", UNKNOWN))
    answers = Words(yes, no, unknown, tuple(ids(str(number))[0] for number in range(10)))
    classes = [[number[box.label] for box in boxes] for boxes in features.objects]
    return Data(features, classes, len(SPECIAL), len(labels), pools, answers)

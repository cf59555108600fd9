"""Questions as token ids, with answers that fit the remaining tokens of an image, packed many to a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from scope_adapters.training.vocabulary import EOS, UNK

SHARES = {"existence": 0.27, "count": 0.22, "where": 0.2, "relation": 0.2, "size": 0.07, "background": 0.04}
"""Share of each kind of question; other kinds get the smallest share."""
UNKNOWN_SHARE = 0.05
"""Share of questions with unknown words, whose answer is `vocabulary.UNKNOWN`."""


@dataclass(frozen=True)
class Asked:
    """A question as token ids, without ``<s>``.

    Attributes:
        kind: Kind of question, as in `scope_core.tasks.Question`.
        ids: Ids of the question.
        answer: Id of the answer, one word.
        labels: Ids of the object classes in the question.
    """

    kind: str
    ids: tuple[int, ...]
    answer: int
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Words:
    """Ids of words used as new answers."""

    yes: int
    no: int
    unknown: int
    numbers: tuple[int, ...]


def ask(
    pool: Sequence[Asked], objects: Sequence[tuple[int, int]], words: Words, count: int, random: Random
) -> list[Asked]:
    """At most ``count`` questions whose answers hold for the remaining tokens of the image.

    If an object is dropped, the answer to whether it is there becomes no, it is not counted, and nothing else is asked
    about it. If only a small part of it is left, nothing is asked about it.

    Args:
        pool: All questions about the scene.
        objects: Label id of each object, and its visibility (`subsets.seen`).
        words: Ids of answers.
        count: Number of questions.
        random: Random generator.
    """
    state: dict[int, list[int]] = {}
    for label, seen in objects:
        state.setdefault(label, []).append(seen)
    by: dict[str, list[Asked]] = {}
    for question in pool:
        by.setdefault(question.kind, []).append(question)
    kinds = list(by)
    shares = [SHARES.get(kind, min(SHARES.values())) for kind in kinds]
    drawn: list[Asked] = []
    for kind in random.choices(kinds, shares, k=3 * count):
        if len(drawn) == count:
            break
        question = _drawn(by[kind], kind, random)
        if random.random() < UNKNOWN_SHARE:
            drawn.append(Asked(kind, _garbled(question, random), words.unknown, ()))
        elif (answer := _answer(question, state, words)) is not None:
            drawn.append(Asked(kind, question.ids, answer, question.labels))
    return drawn


def _drawn(pool: Sequence[Asked], kind: str, random: Random) -> Asked:
    """A question of a kind; yes and no equally often, and in half of the counts every number equally often."""
    answers = sorted({question.answer for question in pool})
    if kind in ("existence", "relation") or (kind == "count" and random.random() < 0.5):
        wanted = random.choice(answers)
        pool = [question for question in pool if question.answer == wanted]
    return random.choice(pool)


def _garbled(question: Asked, random: Random) -> tuple[int, ...]:
    """The ids of a question in which the objects' words or one random word, and perhaps others, are unknown."""
    lost = {i for i, token in enumerate(question.ids) if token in question.labels}
    if not lost or random.random() < 0.5:
        lost = {random.randrange(len(question.ids))}
    return tuple(UNK if i in lost or random.random() < 0.1 else token for i, token in enumerate(question.ids))


def _answer(question: Asked, state: Mapping[int, Sequence[int]], words: Words) -> int | None:
    """The answer for the remaining tokens; None if the question should not be asked."""
    seen = [value for label in set(question.labels) for value in state.get(label, ())]
    if -1 in seen:
        return None
    if question.kind == "existence":
        return words.yes if 1 in seen else words.no
    if question.kind == "count":
        return words.numbers[sum(seen)]
    return None if 0 in seen else question.answer


@dataclass(frozen=True)
class Packed:
    """Questions about B scenes, T tokens each; every question attends only to the image and to itself.

    Attributes:
        ids: (B, T) token ids.
        positions: (B, T) position within the question.
        mask: (B, T, T) True where a row's token attends to a column's.
        targets: (B, T) id of the next token, -100 where nothing is learnt.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor


def pack(scenes: Sequence[Sequence[Asked]], length: int) -> Packed:
    """Questions with answers, packed into rows of ``length`` tokens; those that do not fit are dropped."""
    shape = (len(scenes), length)
    ids, positions = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    targets, block = torch.full(shape, -100), torch.full(shape, -1)
    for row, scene in enumerate(scenes):
        start = 0
        for number, question in enumerate(scene):
            end = start + len(question.ids) + 1
            if end > length:
                break
            ids[row, start:end] = torch.tensor([*question.ids, question.answer])
            positions[row, start:end] = torch.arange(end - start)
            targets[row, end - 2], targets[row, end - 1] = question.answer, EOS
            block[row, start:end] = number
            start = end
    order = torch.arange(length)
    mask = (block[:, :, None] == block[:, None]) & (order[:, None] >= order)
    return Packed(ids, positions, mask, targets)

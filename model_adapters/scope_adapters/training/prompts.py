"""Questions as token ids, with answers set by what is left of an image, packed many to a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from scope_adapters.training.vocabulary import EOS, UNK

if TYPE_CHECKING:
    from torch import Tensor

SHARES = {"existence": 0.27, "count": 0.22, "where": 0.2, "relation": 0.2, "size": 0.07, "background": 0.04}
"""How often each kind is asked; other kinds as often as the rarest."""
UNKNOWN_SHARE = 0.05
"""How often words are made unknown, for the answer to be `vocabulary.UNKNOWN`."""


@dataclass(frozen=True)
class Asked:
    """A question as token ids, without ``<s>``.

    Attributes:
        kind: As in `scope_core.tasks.Question`.
        ids: Of the question.
        answer: Id of the answer, one word.
        labels: Ids of the object classes in the question.
    """

    kind: str
    ids: tuple[int, ...]
    answer: int
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Words:
    """Ids of the words that answers are changed to."""

    yes: int
    no: int
    unknown: int
    numbers: tuple[int, ...]


def ask(
    pool: Sequence[Asked], objects: Sequence[tuple[int, int]], words: Words, count: int, random: Random
) -> list[Asked]:
    """At most ``count`` questions whose answers hold for what is left of the image.

    Where an object is gone, the answer to whether it is there becomes no, it is not counted, and nothing else is
    asked about it. Where too little is left of it to tell, nothing is.

    Args:
        pool: All questions of the scene.
        objects: Label id of each object, and whether it is seen (`subsets.seen`).
        words: Ids of answers.
        count: How many.
        random: Draws them.
    """
    state: dict[int, list[int]] = {}
    for label, seen in objects:
        state.setdefault(label, []).append(seen)
    by: dict[str, list[Asked]] = {}
    for question in pool:
        by.setdefault(question.kind, []).append(question)
    kinds = list(by)
    shares = [SHARES.get(kind, min(SHARES.values())) for kind in kinds]
    made: list[Asked] = []
    for kind in random.choices(kinds, shares, k=3 * count):
        if len(made) == count:
            break
        question = _drawn(by[kind], kind, random)
        if random.random() < UNKNOWN_SHARE:
            made.append(Asked(kind, _garbled(question, random), words.unknown, ()))
        elif (answer := _answer(question, state, words)) is not None:
            made.append(Asked(kind, question.ids, answer, question.labels))
    return made


def _drawn(pool: Sequence[Asked], kind: str, random: Random) -> Asked:
    """Yes and no equally often; half of the counts with every number equally often."""
    answers = sorted({question.answer for question in pool})
    if kind in ("existence", "relation") or (kind == "count" and random.random() < 0.5):
        wanted = random.choice(answers)
        pool = [question for question in pool if question.answer == wanted]
    return random.choice(pool)


def _garbled(question: Asked, random: Random) -> tuple[int, ...]:
    """Its ids with the objects' words, or any one word, made unknown, and perhaps some more."""
    lost = {i for i, token in enumerate(question.ids) if token in question.labels}
    if not lost or random.random() < 0.5:
        lost = {random.randrange(len(question.ids))}
    return tuple(UNK if i in lost or random.random() < 0.1 else token for i, token in enumerate(question.ids))


def _answer(question: Asked, state: Mapping[int, Sequence[int]], words: Words) -> int | None:
    """The answer that what is left supports; None where the question should not be asked."""
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
    """Questions of B scenes, T tokens each; every question sees the image and itself alone.

    Attributes:
        ids: (B, T) token ids.
        positions: (B, T) position within the question.
        mask: (B, T, T) True where a row's token may look at a column's.
        targets: (B, T) the id that should come next, -100 where nothing is learnt.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor


def pack(scenes: Sequence[Sequence[Asked]], length: int) -> Packed:
    """Pack questions, answers included, into rows of ``length`` tokens; what does not fit is left out."""
    import torch

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

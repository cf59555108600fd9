"""The losses of the training stages align, lookup and mixed. Each depends on the state alone, so runs can resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

from scope_adapters.training.features import Features
from scope_adapters.training.prompts import Asked, Words, ask, pack
from scope_adapters.training.settings import TOKENS, WIDTH
from scope_adapters.training.student import Student, full_mask
from scope_adapters.training.subsets import FIRST, LAST, owners, seen, subset

if TYPE_CHECKING:
    import numpy as np

Forward: TypeAlias = Callable[..., Any]

SCENES, BACKGROUND = 40, 0.07
"""For `align`: scenes in a step, and the share of background patches that is used."""
SHARP, SMOOTH, NORM = 20.0, 0.05, 0.1
"""For `align`: scale of the cosines, label smoothing, weight of the loss that keeps patches at unit length."""
QUESTIONS, LENGTH = 16, 160
"""For `answer`: questions about a scene, and text tokens for them."""
FEW = (96, 32)
MIXED = ((24, 40), (64, 36), (128, 28), (256, 20), (TOKENS, 12))
MIXED_SHARES = (0.12, 0.18, 0.12, 0.1, 0.48)
"""Kept tokens and scenes of a step, and the share of such steps."""


@dataclass
class Data:
    """Training data.

    Attributes:
        features: Features of the scenes.
        classes: Class of each object of each scene, from 1.
        first: Id of class 1's word; those of the others follow it.
        count: Number of classes.
        pools: Questions about each scene.
        words: Ids of answers.
        owner: Object of each patch, by scene.
    """

    features: Features
    classes: Sequence[Sequence[int]]
    first: int
    count: int
    pools: Sequence[Sequence[Asked]]
    words: Words
    owner: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.owner = [owners(boxes) for boxes in self.features.objects]


@dataclass
class Draws:
    """The random generators of a run; their states are part of a checkpoint."""

    python: Random
    numpy: np.random.Generator

    @classmethod
    def of(cls, seed: int) -> Draws:
        """Fresh generators."""
        import numpy as np

        return cls(Random(seed), np.random.default_rng(seed))  # noqa: S311


def rate(step: int, steps: int, *, peak: float, last: float, warm: int) -> float:
    """Learning rate: linear warm-up, then a cosine from ``peak`` to ``last``."""
    slope = last + (peak - last) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return slope * min(1.0, (step + 1) / warm)


def align(student: Student, data: Data, draws: Draws) -> Tensor:
    """The loss of a step that turns patches of objects towards their class word's embedding, and others away from all.

    Cosine-scaled cross-entropy over the classes; the embeddings do not change. Without this stage the decoder does not
    learn which patches a word is about, and only guesses.
    """
    import numpy as np

    rows, targets = [], []
    scenes = min(SCENES, len(data.features))
    for index in draws.numpy.choice(len(data.features), scenes, replace=False):
        label = np.array([0, *data.classes[index]])[data.owner[index].astype(int) + 1]
        # All patches of objects, and some of the many others.
        taken = (label > 0) | (draws.numpy.random(TOKENS) < BACKGROUND)
        rows.append(data.features.values[index][taken])
        targets.append(label[taken])
    features, aim = np.concatenate(rows).astype(np.float32), torch.from_numpy(np.concatenate(targets))
    words = student.words[data.first : data.first + data.count].detach()
    classes = normalize(torch.cat([student.none[None], words]), dim=-1)
    projected = student.project(torch.from_numpy(features))
    length = projected.norm(dim=-1, keepdim=True)
    logits = SHARP * linear(projected / length, classes)
    loss: Tensor = cross_entropy(logits, aim, label_smoothing=SMOOTH) + NORM * ((length - 1) ** 2).mean()
    return loss


def answer(
    student: Student, data: Data, draws: Draws, *, few: bool, forward: Forward, patterns: Sequence[str] | None = None
) -> Tensor:
    """The loss of a step that answers questions about some of each image's tokens.

    Args:
        student: The model.
        data: The training data.
        draws: Random generators.
        few: True for 96 tokens, most of them objects', to learn looking things up; False for 24 to all tokens.
        forward: ``student.forward``, perhaps compiled.
        patterns: Patterns of tokens; by default `subsets.FIRST` or `subsets.LAST`. Empty: all tokens.
    """
    import numpy as np

    keep, scenes = FEW if few else draws.python.choices(MIXED, MIXED_SHARES)[0]
    patterns = (FIRST if few else LAST) if patterns is None else patterns
    if not patterns:
        keep, scenes = MIXED[-1]
    chosen = np.sort(draws.numpy.choice(len(data.features), min(scenes, len(data.features)), replace=False))
    features, asked = np.empty((len(chosen), keep, WIDTH), np.float32), []
    for row, index in enumerate(chosen):
        values, owner = data.features.values[index].astype(np.float32), data.owner[index]
        kept = None
        if patterns:
            pattern = draws.python.choice(patterns)
            kept = None if keep == TOKENS else subset(pattern, keep, values, owner, draws.numpy)
        features[row] = values if kept is None else values[kept]
        labels = [data.first - 1 + number for number in data.classes[index]]
        objects = list(zip(labels, seen(owner, kept, len(labels)), strict=True))
        asked.append(ask(data.pools[index], objects, data.words, QUESTIONS, draws.python))
    packed = pack(asked, LENGTH)
    states = forward(torch.from_numpy(features), packed.ids, packed.positions, full_mask(packed, keep))
    learnt = packed.targets != -100
    loss: Tensor = cross_entropy(linear(states[learnt].float(), student.words), packed.targets[learnt])
    return loss

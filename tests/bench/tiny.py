"""A tiny LLaVA that can be asked, and a task about pictures with a square: no weights are read."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from adapters import models
from fakes import module
from PIL import Image, ImageDraw, ImageOps

import scope_core as scope
from scope_core.adapters import LoadedModel
from scope_core.parts import ComponentSpec, Entry
from scope_core.tasks import Box, Example, Question, Task

SIDE = 28


def view(image: Image.Image) -> Image.Image:
    return ImageOps.fit(image, (SIDE, SIDE))


def inputs(images: Sequence[Image.Image], question: str) -> dict[str, Any]:
    places = [models.PLACEHOLDER] * (models.PATCHES * len(images))
    ids = [1, *places, *(3 + byte % 100 for byte in question.encode())]
    made = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
    if not images:
        return made
    raw = torch.stack([torch.frombuffer(bytearray(view(i).tobytes()), dtype=torch.uint8) for i in images])
    pixels = raw.view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2).float() / 64 - 2
    return {**made, "pixel_values": pixels}


@functools.cache
def loaded(kind: str = "clip") -> LoadedModel:
    """Says numbers; which ones depends on the picture, on the question, and on what is kept."""
    return LoadedModel(
        model=models.shared(kind),
        inputs=inputs,
        decode=lambda ids: " ".join(map(str, ids.tolist())),
        name=f"tiny-{kind}",
        view=view,
    )


class SquareSpec(ComponentSpec):
    """Pictures with a square."""

    name: Literal["acme.squares"] = "acme.squares"
    questions: int = 3
    """Of each picture."""


class Squares(Task[SquareSpec]):
    """Replies are right where their first number is even: as good as a coin."""

    max_new_tokens = 3
    splits = ("test", "validation")

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> list[Example]:
        self.check_split(split)
        return [self.example(k, seed) for k in range(8 if limit is None else limit)]

    def example(self, number: int, seed: int) -> Example:
        corner = 7 * (number % 3)
        box = Box("square", corner, corner, corner + 10, corner + 10)
        questions = tuple(
            Question(f"{number}-{k}", f"q{k} of {number % 2}?", "even", ("one", "two")[k % 2], size=(20, 60)[k % 2])
            for k in range(self.spec.questions)
        )
        return Example(
            f"picture {number}", functools.partial(picture, number, seed), questions, (box,), f"pair {number // 2}"
        )

    def correct(self, question: Question, reply: str) -> bool:
        return int(reply.split()[0]) % 2 == 0


def picture(number: int, seed: int) -> Image.Image:
    generator = torch.Generator().manual_seed(100 * seed + number)
    raw = torch.randint(0, 255, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    image = Image.frombytes("RGB", (SIDE, SIDE), bytes(raw.flatten().tolist()))
    corner = 7 * (number % 3)
    ImageDraw.Draw(image).rectangle((corner, corner, corner + 9, corner + 9), fill="red")
    return image


def registry(task: type[Task] = Squares) -> scope.Registry:
    return scope.default_registry().with_module(module(scope_tasks=[Entry(SquareSpec, task, "squares")]))

"""Short clips with labels: which patches show which object when, and which events there are. The same for one number.

Emoji of the scenes task on photographs, as they come with scikit-image. A clip may pan, and may cut to another
photograph half-way. Its objects stand still, move, appear for a few frames, or leave, as the seed says; further ones
start or stop moving, or turn into another object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import dist
from random import Random
from typing import Any

import numpy as np
from PIL import Image

FRAMES, SIDE, GRID = 16, 336, 24
PHOTOGRAPHS = ("coffee", "chelsea", "astronaut", "rocket", "retina", "hubble")
"""Photographs that scikit-image ships, by the names of ``scope photos``."""
COVERED = 0.3
"""An object is in a patch if it covers at least this share of it."""
CHANGES = ("starts", "stops", "becomes")
"""Kinds of objects that change: what each does in its frame ``turn``, for the first time."""
LEAST_WAY = 90.0
"""Pixels that an object which starts or stops moving goes at least."""


@dataclass(frozen=True)
class Thing:
    """An object: its class, size in pixels, place in its first frame, way per frame, and the frames that show it.

    ``change`` is one of `CHANGES` or empty, ``turn`` the first frame of what is new then: the first in another place,
    the first without a move, or the first as an object of class ``then``.
    """

    name: str
    size: int
    start: tuple[float, float]
    step: tuple[float, float]
    first: int
    last: int
    change: str = ""
    turn: int = 0
    then: str = ""

    def corner(self, frame: int) -> tuple[int, int]:
        """Left and upper end in a frame."""
        moves = frame - self.first
        if self.change == "starts":
            moves = max(0, frame - self.turn + 1)
        elif self.change == "stops":
            moves = min(frame, self.turn - 1)
        left, upper = (at + way * moves for at, way in zip(self.start, self.step, strict=True))
        return round(left), round(upper)

    def shown_as(self, frame: int) -> str:
        """Its class in a frame."""
        return self.then if self.change == "becomes" and frame >= self.turn else self.name


@dataclass(frozen=True)
class Plan:
    """A clip before it is drawn."""

    number: int
    photographs: tuple[str, str | None]
    pan: float
    things: tuple[Thing, ...]

    @property
    def cut(self) -> int | None:
        """The first frame of the second photograph."""
        return FRAMES // 2 if self.photographs[1] else None

    @property
    def events(self) -> list[tuple[int, int]]:
        """(object, frame) of each first appearance after the start."""
        return [(number, thing.first) for number, thing in enumerate(self.things) if thing.first > 0]

    @property
    def changes(self) -> list[tuple[int, int]]:
        """(object, frame) of each change of an object that was there before."""
        return [(number, thing.turn) for number, thing in enumerate(self.things) if thing.change]


def plan(number: int, *, changing: int = 0) -> Plan:
    """The clip with this number, and as many further objects that change."""
    from scope_plugins.task.scenes.classes import NAMES

    random = Random(f"clip {number}")
    first, second = random.sample(PHOTOGRAPHS, 2)
    things = []
    for kind in random.sample(["still", "moving", "brief", "brief", "leaving", "coming", "moving"], 6):
        size = random.choice((32, 44, 60))
        at = (random.uniform(8, SIDE - size - 8), random.uniform(8, SIDE - size - 8))
        step, shown = (0.0, 0.0), (0, FRAMES - 1)
        if kind == "moving":
            target = (random.uniform(8, SIDE - size - 8), random.uniform(8, SIDE - size - 8))
            step = ((target[0] - at[0]) / (FRAMES - 1), (target[1] - at[1]) / (FRAMES - 1))
        elif kind == "brief":
            begin = random.randint(2, FRAMES - 4)
            shown = (begin, begin + random.randint(0, 2))
        elif kind == "leaving":
            shown = (0, random.randint(4, FRAMES - 4))
        elif kind == "coming":
            shown = (random.randint(4, FRAMES - 4), FRAMES - 1)
        things.append(Thing(random.choice(NAMES), size, at, step, *shown))
    pan = random.choice((0.0, 0.0, 4.0))
    cut = second if random.random() < 0.4 else None
    more = Random(f"clip {number} changes")  # of its own, so that the other objects stay the same
    things += [_changing(more, kind, NAMES) for kind in more.sample(CHANGES, changing)]
    return Plan(number, (first, cut), pan, tuple(things))


def _changing(random: Random, kind: str, names: Sequence[str]) -> Thing:
    """An object that is there from the first frame to the last, and changes once."""
    size, turn = random.choice((32, 44, 60)), random.randint(5, FRAMES - 5)
    name, then = random.sample(list(names), 2)
    moves = {"starts": FRAMES - turn, "stops": turn - 1, "becomes": 1}[kind]

    def place() -> tuple[float, float]:
        return random.uniform(8, SIDE - size - 8), random.uniform(8, SIDE - size - 8)

    at, target = place(), place()
    while dist(at, target) < LEAST_WAY:
        target = place()
    step = (0.0, 0.0) if kind == "becomes" else tuple((to - of) / moves for to, of in zip(target, at, strict=True))
    return Thing(name, size, at, step, 0, FRAMES - 1, kind, turn, then)


def draw(clip: Plan, grid: int = GRID) -> tuple[list[Image.Image], np.ndarray[Any, Any]]:
    """The frames, and (objects, frames, grid, grid) bool: True where a patch of a frame shows an object."""
    from scope_core.cli.photos import open_pictures
    from scope_plugins.task.scenes.sprites import SHIPPED, read_sprites

    sprites = read_sprites(SHIPPED)
    photographs = [open_pictures([f"demo:{name}"])[0].image for name in clip.photographs if name]
    wide = [_wide(photograph) for photograph in photographs]
    frames, shows = [], np.zeros((len(clip.things), FRAMES, grid, grid), dtype=bool)
    for number in range(FRAMES):
        ground = wide[-1] if clip.cut is not None and number >= clip.cut else wide[0]
        left = round(clip.pan * number)
        frame = ground.crop((left, 0, left + SIDE, SIDE)).convert("RGBA")
        over = np.zeros((SIDE, SIDE), dtype=int) - 1  # the object on top, of each pixel
        for which, thing in enumerate(clip.things):
            if thing.first <= number <= thing.last:
                sprite = sprites[thing.shown_as(number)][0].resize((thing.size, thing.size), Image.Resampling.BICUBIC)
                x, y = thing.corner(number)
                frame.alpha_composite(sprite, (x, y))
                alpha = np.asarray(sprite.getchannel("A")) > 127
                part = over[y : y + thing.size, x : x + thing.size]
                part[alpha[: part.shape[0], : part.shape[1]]] = which
        size = SIDE // grid
        for which in range(len(clip.things)):
            share = (over == which).reshape(grid, size, grid, size).mean((1, 3))
            shows[which, number] = share >= COVERED
        frames.append(frame.convert("RGB"))
    return frames, shows


def still(frames: Sequence[Image.Image], grid: int = GRID) -> np.ndarray[Any, Any]:
    """(frames - 1, grid, grid) bool: True where a patch has the same pixels as in the frame before."""
    size = SIDE // grid
    pixels = np.stack([np.asarray(frame) for frame in frames]).reshape(len(frames), grid, size, grid, size, 3)
    return (pixels[1:] == pixels[:-1]).all((2, 4, 5))


def _wide(photograph: Image.Image) -> Image.Image:
    """The middle of a photograph, as high as a frame and wide enough to pan."""
    from PIL import ImageOps

    return ImageOps.fit(photograph.convert("RGB"), (SIDE + 4 * FRAMES, SIDE), Image.Resampling.BICUBIC)

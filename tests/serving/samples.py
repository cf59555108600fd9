"""Pictures and prompts for the tests of serving; nothing is read from disk."""

from __future__ import annotations

import base64
import io
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

QUESTION = "What is in the picture?"


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Coloured shapes on a slope of two colours: differs with the seed, has smooth and busy places."""
    chance = random.Random(seed)

    def colour() -> tuple[int, int, int]:
        return chance.randrange(256), chance.randrange(256), chance.randrange(256)

    slope = Image.linear_gradient("L").rotate(90 * chance.randrange(4)).resize(size)
    made = Image.composite(Image.new("RGB", size, colour()), Image.new("RGB", size, colour()), slope)
    pen = ImageDraw.Draw(made)
    for _ in range(6):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        reach = chance.randrange(10, max(11, min(size) // 2))
        (pen.ellipse if chance.random() < 0.5 else pen.rectangle)((x, y, x + reach, y + reach), fill=colour())
    return made


@dataclass(frozen=True)
class Clip:
    """A video: pictures, and how many of them are shown in a second."""

    frames: tuple[Image.Image, ...]
    fps: float

    @property
    def array(self) -> np.ndarray:
        """(T, height, width, 3) uint8."""
        return np.stack([np.asarray(frame) for frame in self.frames])

    @property
    def metadata(self) -> dict[str, Any]:
        """What a decoder says of it; all frames are used."""
        count = len(self.frames)
        timing = {"fps": self.fps, "duration": count / self.fps, "total_num_frames": count}
        return {**timing, "frames_indices": list(range(count)), "video_backend": "none"}


def clip(seed: int, frames: int = 6, size: tuple[int, int] = (112, 84), fps: float = 2.0) -> Clip:
    """A window that moves over a picture, with a cut to another picture in the middle."""
    width, height = size
    shown = [picture(seed, (2 * width, 2 * height)), picture(seed + 1000, (2 * width, 2 * height))]
    made = []
    for number in range(frames):
        x, y = number * width // frames, number * height // frames
        made.append(shown[2 * number // frames].crop((x, y, x + width, y + height)))
    return Clip(tuple(made), fps)


def data_url(image: Image.Image) -> str:
    """A picture as it is put into a request."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def prompt(images: int = 1, question: str = QUESTION) -> str:
    """What the chat template makes of one user's message."""
    return "USER: " + "<image>\n" * images + question + " ASSISTANT:"

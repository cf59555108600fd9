"""Pictures and prompts for the tests of serving; nothing is read from disk."""

from __future__ import annotations

import base64
import io
import random

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


def data_url(image: Image.Image) -> str:
    """A picture as it is put into a request."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def prompt(images: int = 1, question: str = QUESTION) -> str:
    """What the chat template makes of one user's message."""
    return "USER: " + "<image>\n" * images + question + " ASSISTANT:"

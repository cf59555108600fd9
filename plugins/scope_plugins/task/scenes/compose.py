"""Composition of scenes: sprites on a crop of a photograph. The same seed gives the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from random import Random

from PIL import Image, ImageEnhance, ImageFilter

from scope_core.tasks import Box
from scope_plugins.task.scenes.classes import GROUPS, NAMES, WEIGHTS
from scope_plugins.task.scenes.photographs import Photograph
from scope_plugins.task.scenes.sprites import Sprites

SIZE = 336
"""Side of a scene in pixels."""
SMALL, MIDDLE, LARGE = (26, 40), (40, 70), (70, 120)
"""Ranges of the longer side of an object in pixels, before it is rotated."""
MISSES = 40
"""Number of places that are tried for an object before it is left out."""


@dataclass(frozen=True)
class Planned:
    """An object that is not drawn yet. ``x`` and ``y`` are its centre, ``size`` its longer side in pixels."""

    label: str
    x: float
    y: float
    size: float
    angle: float
    flip: bool
    alpha: float
    sprite: int


@dataclass(frozen=True)
class Scene:
    """The parts of a scene; `draw` makes the image."""

    seed: str
    photograph: Photograph
    objects: tuple[Planned, ...]
    varied: bool

    def draw(self, sprites: Sprites) -> tuple[Image.Image, tuple[Box, ...]]:
        """The image (RGB, `SIZE` x `SIZE`) and the box around each object's pixels."""
        random = Random(f"{self.seed}/pixels")  # noqa: S311
        image = _background(self.photograph.open(), random, varied=self.varied).convert("RGBA")
        boxes = []
        for planned in self.objects:
            sprite = _sprite(planned, sprites[planned.label], random, varied=self.varied)
            left, top = round(planned.x - sprite.width / 2), round(planned.y - sprite.height / 2)
            left, top = (max(0, min(SIZE - side, at)) for at, side in ((left, sprite.width), (top, sprite.height)))
            image.alpha_composite(sprite, (left, top))
            boxes.append(Box(planned.label, left, top, left + sprite.width, top + sprite.height))
        scene = image.convert("RGB")
        return (_degraded(scene, random) if self.varied else scene), tuple(boxes)


def plan(seed: str, photographs: Sequence[Photograph], *, varied: bool = False) -> Scene:
    """A random scene.

    It has three to eight objects, or in one of six scenes nine to twelve. About half of the scenes repeat a class two
    to four times; two of three take most objects from one group of classes, so that classes co-occur. One of seven
    objects is see-through, which lowers its contrast.

    Args:
        seed: Any text.
        photographs: The photographs to choose the background from.
        varied: Also vary colours, sharpness and noise, for training.
    """
    random = Random(seed)  # noqa: S311
    photograph = random.choice(photographs)
    names = [name for name in NAMES if name not in photograph.shows]
    theme = random.choice(list(GROUPS)) if random.random() < 0.67 else None
    crowded = random.random() < 1 / 6
    count = random.randint(9, 12) if crowded else random.randint(3, 8)
    labels: list[str] = []
    if random.random() < 0.55:
        labels += [_class(random, names, theme)] * random.choice((2, 2, 3, 3, 4))
    while len(labels) < count:
        labels.append(_class(random, names, theme))
    objects: list[Planned] = []
    for label in labels[:count]:
        size = random.uniform(*random.choices((SMALL, MIDDLE, LARGE), (5, 4, 0) if crowded else (3, 4, 3))[0])
        for _ in range(MISSES):
            x, y = (random.uniform(size * 0.55, SIZE - size * 0.55) for _ in "xy")
            if all(max(abs(x - o.x), abs(y - o.y)) > (size + o.size) / 2 + 3 for o in objects):
                alpha = random.uniform(0.5, 0.75) if random.random() < 1 / 7 else 1.0
                turn, flip, sprite = random.uniform(-15, 15), random.random() < 0.5, random.randrange(1 << 16)
                objects.append(Planned(label, x, y, size, turn, flip, alpha, sprite))
                break
    return Scene(seed, photograph, tuple(objects), varied)


def _class(random: Random, names: Sequence[str], theme: str | None) -> str:
    pool = [name for name in names if name in GROUPS[theme]] if theme and random.random() < 0.75 else list(names)
    return random.choices(pool, [WEIGHTS[name] for name in pool])[0]


def _background(photograph: Image.Image, random: Random, *, varied: bool) -> Image.Image:
    """A square crop of a third to all of the shorter side, sometimes mirrored, a little brighter or darker."""
    side = random.uniform(0.35, 1) * min(photograph.size)
    left, top = (random.uniform(0, extent - side) for extent in photograph.size)
    crop = photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    if random.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    crop = ImageEnhance.Brightness(crop).enhance(random.uniform(0.7, 1.2))
    if varied and random.random() < 0.5:
        crop = _recoloured(crop, random, 1.0)
    if varied and random.random() < 0.15:
        crop = crop.transpose(random.choice((Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180)))
    return crop


def _sprite(planned: Planned, choices: Sequence[Image.Image], random: Random, *, varied: bool) -> Image.Image:
    """The sprite as it will be pasted, cropped to its visible pixels."""
    sprite = choices[planned.sprite % len(choices)]
    if planned.flip:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = planned.size / max(sprite.size)
    width, height = (max(1, round(side * scale)) for side in sprite.size)
    if varied:
        height = max(1, round(height * random.uniform(0.85, 1.0)))
    sprite = sprite.resize((width, height), Image.Resampling.BICUBIC)
    if varied and random.random() < 0.5:
        colours = _recoloured(sprite.convert("RGB"), random, 0.3)
        colours.putalpha(sprite.getchannel("A"))
        sprite = colours
    sprite = sprite.rotate(planned.angle, Image.Resampling.BICUBIC, expand=True)
    alpha = sprite.getchannel("A").point([round(a * planned.alpha) for a in range(256)])
    sprite.putalpha(alpha)
    return sprite.crop(alpha.point([0] * 16 + [255] * 240).getbbox())


def _recoloured(image: Image.Image, random: Random, strength: float) -> Image.Image:
    """The image with hue, saturation, brightness and contrast changed by up to ``strength`` of their range."""
    hue, saturation, value = image.convert("HSV").split()
    shift = round(random.uniform(-strength, strength) * 40) % 256
    hue = hue.point([(h + shift) % 256 for h in range(256)])
    image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    for change in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = change(image).enhance(1 + random.uniform(-0.5, 0.4) * (strength + 0.2))
    return image


def _degraded(image: Image.Image, random: Random) -> Image.Image:
    """The image, sometimes blurred or compressed as a JPEG of low quality."""
    if random.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.0)))
    if random.random() < 0.35:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=random.randint(40, 90))
        image = Image.open(buffer).convert("RGB")
    return image

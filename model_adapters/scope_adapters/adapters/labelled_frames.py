"""Videos whose processor gives their frames as images, each behind a label that counts: "Frame1: ", "Frame2: "."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from torch import Tensor

from scope_adapters.adapters.projected import S
from scope_adapters.adapters.shuffled import Shuffled
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.prompt import runs
from scope_adapters.hosts.methods import unwrap
from scope_core import Layout
from scope_core.adapters import Session
from scope_core.parts import ImageLayout

_COUNTER = 5
"""Most ids of the number or time in a label ("12:34"). It may have one id more or less than the one before it."""
_BETWEEN = 1
"""Most ids between the end of an image and the next label: a line break."""
_SAME = 2
"""Fewest ids that all labels end with: what follows the number, and the start of the image."""

Run = tuple[int, int, int]


class LabelledFrames(Shuffled[S]):
    """With ``frames: videos``, images of one tile behind labels that count are frames of one video.

    A video of one frame cannot be told from an image, and is one; two of them behind the same text may be taken for one
    video of two frames.
    """

    starts_over = True
    """True if a label that occurred at the first frame starts another video; False if labels may repeat."""

    @property
    def reads_labels(self) -> bool:
        """True if the spec asks for it; one without this option, of a subclass elsewhere, does not."""
        return bool(getattr(self.spec, "frames", "images") == "videos")

    def grouped(self, ids: Tensor, found: Sequence[Run]) -> list[int]:
        """The item of each run: an image, or a video of all frames that count on."""
        if not self.reads_labels:
            return super().grouped(ids, found)
        return [item for item, _ in self._videos(ids, found)]

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images and videos, by one pass over all tiles."""
        encoded = super().encode(model, images, ids, attachment)
        if not self.reads_labels:
            return encoded
        moving = dict(self._videos(ids, runs(ids, int(model.config.image_token_id))))
        geometry = [
            replace(item, frames=(1,) * len(item.tiles)) if moving[number] else item
            for number, item in enumerate(encoded.geometry)
        ]
        return replace(encoded, geometry=geometry)

    def video_layout(self, model: Any, sizes: Sequence[tuple[int, int, int]]) -> Layout:
        """The layout of videos, whose frames are one tile each; with ``frames: images``, as for other models."""
        if not self.reads_labels:
            return super().video_layout(model, sizes)
        model = unwrap(model)
        tokens = len(self.patches(base_of(model), self._tower(model).grid()).index)
        return Layout(tuple(ImageLayout((tokens,) * count, frames=(1,) * count) for count, _, _ in sizes))

    def _videos(self, ids: Tensor, found: Sequence[Run]) -> list[tuple[int, bool]]:
        """``(item, True if it is a video)`` of each run."""
        images = super().grouped(ids, found)
        heads = _heads(ids, found)
        made: list[list[int]] = []
        for number, image in enumerate(images):
            tile = number and image == images[number - 1]  # of the same image
            if tile or (number and self._goes_on(found, heads, images, made[-1], number)):
                made[-1].append(number)
            else:
                made.append([number])
        return [(n, len({images[one] for one in item}) > 1) for n, item in enumerate(made) for _ in item]

    def _goes_on(
        self, found: Sequence[Run], heads: Sequence[list[int]], images: Sequence[int], item: list[int], number: int
    ) -> bool:
        """True if a run is the next frame of an item."""
        (row, start, stop), (before, first, last) = found[number], found[number - 1]
        single = images.count(images[number]) == images.count(images[number - 1]) == 1
        if row != before or not single or stop - start != last - first:
            return False
        again = self.starts_over and _again(heads[number], *(heads[one] for one in item[:2]))
        return not again and _alike(heads[number], heads[number - 1], _COUNTER)


def _heads(ids: Tensor, found: Sequence[Run]) -> list[list[int]]:
    """The ids before each run, from the end of the image before it or the start of the prompt."""
    made, row_before, end = [], -1, 0
    for row, start, stop in found:
        made.append(ids[row, end if row == row_before else 0 : start].tolist())
        row_before, end = row, stop + 1
    return made


def _alike(label: list[int], before: list[int], counter: int) -> bool:
    """True if ``label`` ends as ``before`` does, but for a number of at most ``counter`` ids."""
    same = _common(label, before)
    if same < _SAME:
        return False
    for here, there in [(0, 0), *product(range(1, counter + 1), repeat=2)]:
        rest, read = label[: max(0, len(label) - same - here)], before[: max(0, len(before) - same - there)]
        words = _common(rest, read)  # before the number
        whole = words > 0 or here == 0
        if whole and abs(here - there) <= 1 and len(rest) - words <= _BETWEEN:
            return True
    return False


def _again(label: list[int], first: list[int], second: list[int] | None = None) -> bool:
    """True if ``label`` is that of the first frame: the number of one id in it, and the word before that, are the same.

    Args:
        label: The ids before a run.
        first: Those before the first frame.
        second: Those before the second frame, if there is one.
    """
    if second is None:
        return _alike(label, first, 0)
    return _common(label, first) > _common(first, second) + 1


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of ids that both end with."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))

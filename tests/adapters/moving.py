"""Every kind of model that takes videos, with prompts of one recipe for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from adapters import anyres, qwen, tiled, video_llava
from adapters.clips import clips
from adapters.models import PLACEHOLDER


@dataclass(frozen=True)
class Calls:
    """Prompts of one batch.

    Attributes:
        inputs: Keyword arguments for all of them.
        rows: Those for each alone.
        items: ``(prompt, frames, tokens)`` of each item; an image has no frames.
    """

    inputs: dict[str, Any]
    rows: list[dict[str, Any]]
    items: list[tuple[int, int, int]]


Piece = int | str
Row = Sequence[Piece]
"""``3`` is three words, ``"image"`` an image, ``"2"`` a video of two frames."""


def _packed(name: str, rows: Sequence[Row]) -> Calls:
    frame, image = (4, 6), (4, 4)

    def piece(one: Piece) -> Any:
        return one if isinstance(one, int) else image if one == "image" else (int(one), *frame)

    given = qwen.prompts(*[[piece(one) for one in row] for row in rows], stamped=name.startswith("qwen3"))
    return Calls(given.inputs, [given.row(n).inputs for n in range(len(rows))], _items(rows, 6, 4))


def _equal(rows: Sequence[Row]) -> int:
    """The number of frames of all videos."""
    (frames,) = {int(one) for row in rows for one in row if isinstance(one, str) and one != "image"}
    return frames


def _pooled(model: Any, rows: Sequence[Row]) -> Calls:
    frames, size = _equal(rows), (25, 56)
    made = [[one if isinstance(one, int) else size if one == "image" else "video" for one in row] for row in rows]
    given = clips(model, *made, frames=frames)
    tokens = anyres.placeholders_of(model, anyres.prompts(model, [1, size]))[0]
    return Calls(given.inputs, [given.row(n).inputs for n in range(len(rows))], _items(rows, 4, tokens))


def _video_llava(rows: Sequence[Row]) -> Calls:
    made = [[one if isinstance(one, int) or one == "image" else "video" for one in row] for row in rows]
    given = video_llava.prompts(*made, frames=_equal(rows))
    items = _items(rows, video_llava.OF_FRAME, video_llava.PATCHES)
    return Calls(given.inputs, [given.row(n).inputs for n in range(len(rows))], items)


def _labelled(name: str, rows: Sequence[Row]) -> Calls:
    """Frames behind labels that count; a video of one frame is an image."""
    start, end = (151, 151) if name == "smolvlm" else (151, 152)
    tile, generator = [start, *[PLACEHOLDER] * 9, end], torch.Generator().manual_seed(5)
    made: list[list[int]] = []
    counts: list[int] = []
    for row in rows:
        ids, count = [1], 0
        for one in row:
            if isinstance(one, int):
                ids += torch.randint(10, 110, (one,), generator=generator).tolist()
            elif one == "image":
                ids, count = [*ids, 60, 61, *tile], count + 1
            else:
                for frame in range(int(one)):
                    ids += [9, 122, 130 + frame, 123, *tile]
                count += int(one)
        made.append(ids)
        counts.append(count)
    pixels = [torch.randn(count, 3, tiled.SIDE, tiled.SIDE, generator=generator) for count in counts]

    def call(numbers: Sequence[int]) -> dict[str, Any]:
        longest = max(len(made[n]) for n in numbers)
        ids = torch.tensor([[0] * (longest - len(made[n])) + made[n] for n in numbers])
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        mine = [pixels[n] for n in numbers]
        if any(map(len, mine)):
            padded = torch.nn.utils.rnn.pad_sequence(mine, batch_first=True)
            given["pixel_values"] = padded if name == "smolvlm" else torch.cat(mine)
        return given

    items = [(row, frames * (frames > 1), tokens) for row, frames, tokens in _items(rows, 9, 9)]
    return Calls(call(range(len(rows))), [call([n]) for n in range(len(rows))], items)


def _items(rows: Sequence[Row], of_frame: int, of_image: int) -> list[tuple[int, int, int]]:
    return [
        (number, 0, of_image) if one == "image" else (number, int(one), int(one) * of_frame)
        for number, row in enumerate(rows)
        for one in row
        if isinstance(one, str)
    ]


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        model: Makes the model.
        calls: ``rows -> `` prompts.
        adapter: The adapter's options; None for those it has by itself.
        unequal: True if the videos of a call may have unequal numbers of frames.
    """

    model: Callable[[], Any]
    calls: Callable[[Sequence[Row]], Calls]
    adapter: dict[str, Any] | None = None
    unequal: bool = True


KINDS: dict[str, Kind] = {
    **{name: Kind(partial(qwen.shared, name), partial(_packed, name)) for name in qwen.CLASSES},
    "llava_onevision": Kind(
        anyres.onevision_model, lambda rows: _pooled(anyres.onevision_model(), rows), unequal=False
    ),
    "llava_next_video": Kind(
        partial(anyres.next_model, kind="LlavaNextVideo"),
        lambda rows: _pooled(anyres.next_model(kind="LlavaNextVideo"), rows),
        unequal=False,
    ),
    "video_llava": Kind(video_llava.video_llava, _video_llava, unequal=False),
    **{
        name: Kind(partial(tiled.shared, name), partial(_labelled, name), {"name": name, "frames": "videos"})
        for name in ("internvl", "smolvlm")
    },
}
MARKS: dict[str, Any] = {**{name: qwen.mark(name) for name in qwen.CLASSES}, "video_llava": video_llava.named}

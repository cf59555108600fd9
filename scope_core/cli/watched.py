"""Videos as ``scope run`` gives them to a model: as its processor takes videos, or frame by frame as images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scope_core.cli.clips import Clip
from scope_core.errors import AdapterError, ZooError

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.parts.zoo import LoadedModel
    from scope_core.structures.receipt import Receipt
    from scope_core.structures.selection import Selection

AS_IMAGES = 8
"""Most frames that are given as images, where nothing is asked for."""


@dataclass(frozen=True)
class Watched:
    """Videos as a model is given them.

    Attributes:
        clips: The videos, with the frames that it is given.
        inputs: Keyword arguments of its ``generate``.
        as_images: True if the frames are given as images.
        notes: What a reader has to know.
    """

    clips: tuple[Clip, ...]
    inputs: dict[str, Any]
    as_images: bool
    notes: tuple[str, ...] = ()


def watched(
    loaded: LoadedModel, name: str, clips: Sequence[Clip], question: str, *, new: int, as_images: bool, asked: bool
) -> Watched:
    """The inputs of a model for videos and a question.

    Args:
        loaded: The model.
        name: Its name in the zoo.
        clips: The videos.
        question: The question.
        new: Tokens of the longest answer.
        as_images: True to give frames as images also to a model that takes videos.
        asked: True if the user said how many frames a second to read, so that none may be left out.

    Raises:
        ZooError: the frames would have to be images, and these are of several videos, or more than the prompt holds.
    """
    if loaded.video_inputs is not None and not as_images:
        return Watched(tuple(clips), loaded.video_inputs(clips, question), as_images=False)
    why = f"{name} takes no videos" if loaded.video_inputs is None else "--as-images"
    if len(clips) > 1:
        raise ZooError(
            f"{why}, so frames are given as images of one prompt, which cannot tell {len(clips)} videos apart; give "
            f"one video, or a model that takes videos (`scope models`)"
        )
    clip = clips[0]
    most = _most(loaded, clip, question, new)
    if most is not None and most < 1:
        raise ZooError(
            f"{why}, and one frame as an image leaves no room in a prompt of {loaded.longest:,} tokens; give a model "
            f"that takes videos (`scope models`)"
        )
    if asked and most is not None and len(clip.frames) > most:
        rate = clip.fps * most / len(clip.frames)
        raise ZooError(
            f"{why}, so its {len(clip.frames)} frames would be as many images, but a prompt of {name} holds {most} of "
            f"them and the answer ({loaded.longest:,} tokens); use --fps {_lower(rate)}, or a shorter part with "
            f"--start and --end"
        )
    shown = clip if asked else clip.thinned(AS_IMAGES if most is None else min(AS_IMAGES, most))
    number = f"{len(shown.frames)} of the {len(clip.frames)}" if len(shown.frames) < len(clip.frames) else "the"
    note = f"{why}: {number} frames are given as images, in order"
    return Watched((shown,), loaded.inputs(list(shown.frames), question), as_images=True, notes=(note,))


def _most(loaded: LoadedModel, clip: Clip, question: str, new: int) -> int | None:
    """Images of the size of a frame that a prompt holds beside the question and the answer; None if unknown."""
    if loaded.longest is None:
        return None
    one, two = (loaded.inputs(list(clip.frames[:1]) * count, question)["input_ids"].shape[1] for count in (1, 2))
    return None if two == one else max(0, (loaded.longest - new - 2 * one + two) // (two - one))


def _lower(rate: float) -> str:
    """A number of frames a second of two digits, rounded down."""
    digits = 10.0 ** (1 - len(f"{int(rate)}")) if rate >= 1 else 0.01
    return f"{max(int(rate / digits) * digits, 0.01):g}"


def kept_of_clip(receipt: Receipt, clip: Clip) -> tuple[Selection, Clip] | None:
    """The selection from a video as one row, and the video with one frame for each frame of its tokens.

    A tower may merge frames in time, and a processor may give frames as images. None if the selection is of neither.
    """
    selection, images = receipt.selection, receipt.images
    if selection is None:
        return None
    if len(images) == 1 and images[0].frames:
        count = images[0].frames
    elif len(images) == len(clip.frames):
        selection, count = _joined(selection), len(images)
    else:
        return None
    step = -(-len(clip.frames) // count)
    if -(-len(clip.frames) // step) != count:
        return None
    merged = replace(clip, frames=clip.frames[::step], times=clip.times[::step], fps=clip.fps / step)
    return selection, merged


def _joined(selection: Selection) -> Selection:
    """A selection from images as one from a video, whose frames they are; without what is merged."""
    import torch

    from scope_core.structures.selection import Selection

    tokens = selection.tokens
    batch, count, _ = tokens.shape
    number = torch.arange(batch, device=tokens.device)[:, None].expand(batch, count)
    index = torch.arange(batch * count, device=tokens.device)[tokens.valid.flatten()][None]
    place = index.new_full((batch * count,), -1)
    place[index[0]] = torch.arange(index.shape[1], device=place.device)
    live = selection.picks >= 0
    rows = torch.arange(batch, device=tokens.device)[:, None].expand_as(selection.picks)
    picks = place[(rows * count + selection.picks)[live]][None]
    whole = replace(tokens, tile=number, frame=number, image=torch.zeros_like(number)).regroup(index)
    stage = None if selection.stage is None else selection.stage[live][None]
    return Selection(picks, selection.gains[live][None], selection.scores[live][None], whole, stage=stage)


def views_of(loaded: LoadedModel, name: str, given: Watched, clip: Clip) -> list[Image]:
    """The frames as the model sees them, one for each frame of tokens.

    Raises:
        AdapterError: the model does not say, or cuts frames into tiles.
    """
    if given.as_images:
        views = [loaded.view(frame) for frame in clip.frames] if loaded.view is not None else []
    else:
        views = list(loaded.video_view(given.clips[0].frames)) if loaded.video_view is not None else []
    if len(views) != len(clip.frames) or any(isinstance(view, list) for view in views):
        raise AdapterError(
            f"'{name}' does not say how it sees a frame of a video as one picture, so no overlay can be drawn; omit "
            f"--out"
        )
    return views  # type: ignore[return-value]  # no lists among them

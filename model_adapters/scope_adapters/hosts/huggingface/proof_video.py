"""A proof of the way of a model's videos: a few blank frames up to the entry of the language model.

As for a blank image (`scope_adapters.hosts.huggingface.proof`); besides, which rows are of which frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.blank import blank_video
from scope_adapters.compat.features import image_features
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.places import moved_most, patches_at, separate
from scope_adapters.hosts.huggingface.proof import Geometry, Moving
from scope_adapters.hosts.huggingface.trial_prompt import (
    FORMS,
    Pooler,
    TrialPrompt,
    axes_of,
    check_one_less,
    items,
    same,
)
from scope_adapters.hosts.methods import within
from scope_adapters.towers.trial import mute, untouched
from scope_core import AdapterError

FRAMES = 4
"""Frames of the blank video; towers that merge frames in time merge two."""


def prove_video(model: Any, known: Geometry, placeholder: int) -> Moving | str:
    """How the videos of a model enter its prompt; the reason, as a sentence, if that cannot be shown.

    Args:
        model: The model, unwrapped.
        known: What a blank image showed.
        placeholder: Id of image placeholders.
    """
    if not hasattr(base_of(model), "get_video_features"):
        return "it has no get_video_features()"
    videos = blank_video(model, known.images, FRAMES)
    if isinstance(videos, str):
        return videos
    with within(), untouched(model), torch.no_grad():
        mute(model)
        try:
            return _proven(model, known, placeholder, videos)
        except Exception as error:  # the model's own code may raise anything
            return f"a blank video does not pass through it ({type(error).__name__}: {str(error).splitlines()[:1]})"


def _proven(model: Any, known: Geometry, placeholder: int, videos: Mapping[str, Any]) -> Moving | str:
    output = _features(model, videos)
    rows, fewer = items(output.pooler_output), blank_video(model, known.images, FRAMES // 2)
    total = sum(map(len, rows))
    half = sum(map(len, items(_features(model, fewer).pooler_output)))
    count = total // max(known.rows, 1)
    if not count or total != count * known.rows or FRAMES % count or half * 2 != total:
        return f"{FRAMES} blank frames have {total} rows, {FRAMES // 2} have {half}, and an image has {known.rows}"
    ids = dict.fromkeys((getattr(model.config, "video_token_id", None), placeholder))
    runs = ([total], [known.rows] * count)
    tried = ((one, counts) for one in ids if isinstance(one, int) for counts in runs)
    found = next((one for one in tried if (pooler := _form(model, *one, videos, output, rows)) is not None), None)
    if found is None:
        return "rows that are passed on do not enter the prompt as those of a blank video do"
    with separate(base_of(model)):
        merged, rows = FRAMES // count, items(_features(model, videos).pooler_output)
        if not _in_order(model, videos, rows, count, merged):
            return "the rows of its frames are not one after another"
        placed = _placed(model, known, videos, rows)
    return Moving(tuple(videos), found[0], pooler, merged, placed)  # type: ignore[arg-type]


def _features(model: Any, videos: Any) -> Any:
    return image_features(base_of(model), videos, lambda rows: [rows], "get_video_features")


def _form(
    model: Any, placeholder: int, counts: Sequence[int], videos: Mapping[str, Any], output: Any, rows: list[Tensor]
) -> Pooler | None:
    """The form in which rows may be passed on, if the prompt can be shortened; None if the model takes none."""
    prompt = TrialPrompt(model, placeholder, counts, videos, "video")
    try:
        own = prompt.entry(**videos)
    except Exception:  # other placeholders, or frames apart
        return None
    axes = axes_of(own)
    for form in FORMS:
        other = prompt.entry_of(output, [row + 1 for row in rows], form, axes)
        if same(own, prompt.entry_of(output, rows, form, axes)) and not same(own, other):
            try:
                check_one_less(type(model).__name__, prompt, output, rows, form, own, axes)
            except AdapterError:
                return None
            return form
    return None


def _changes(model: Any, videos: Mapping[str, Any], rows: Sequence[Tensor], patches: Tensor) -> Tensor:
    """(R,) float64: how much each row changes with noise in some patches."""
    name = next(iter(videos))
    pixels = videos[name].clone()
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    pixels[patches] = noise.to(pixels)[patches]
    after = items(_features(model, {**videos, name: pixels}).pooler_output)
    change: Tensor = (torch.cat(after).double() - torch.cat(list(rows)).double()).norm(dim=-1)
    return change


def _in_order(model: Any, videos: Mapping[str, Any], rows: Sequence[Tensor], count: int, merged: int) -> bool:
    """True if changed pixels of each frame move the rows of its place in time most."""
    each = len(next(iter(videos.values()))) // FRAMES
    for frame in range(FRAMES):
        change = _changes(model, videos, rows, torch.arange(frame * each, (frame + 1) * each))
        if int(change.view(count, -1).sum(1).argmax()) != frame // merged:
            return False
    return True


def _placed(model: Any, known: Geometry, videos: Mapping[str, Any], rows: Sequence[Tensor]) -> bool:
    """True if changed pixels in the last frame move the token of their place in an image's grid most."""
    if known.grid is None:
        return False
    each = len(next(iter(videos.values()))) // FRAMES
    tried = known.grid.trials()
    changes = [
        _changes(model, videos, rows, (FRAMES - 1) * each + patches_at(known.grid, known.side, *place))[-known.rows :]
        for place in tried
    ]
    return moved_most(changes) == [row * known.grid.size[1] + col for row, col in tried]

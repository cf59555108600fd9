"""From images to the groups of tokens that are selected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from scope_core.errors import TokensError
from scope_core.structures.layout import ImageLayout, Layout, Plan
from scope_core.structures.tokens import VisualTokens


def group_index(plan: Plan, tokens: VisualTokens) -> Tensor | None:
    """(G, M) flat token indices of each group, -1 for padding; None if each group is one whole image."""
    whole = [((image, 0, entry.tokens),) for image, entry in enumerate(plan.layout.images)]
    if whole == [tuple((s.image, s.start, s.stop) for s in group) for group in plan.groups]:
        return None
    count = tokens.shape[1]
    if not plan.layout.images or not any(image.tokens for image in plan.layout.images):
        return torch.full((len(plan.groups), 1), -1, dtype=torch.int64, device=tokens.device)
    indices = [row.nonzero().flatten() + image * count for image, row in enumerate(tokens.valid)]
    members = [torch.cat([indices[s.image][s.start : s.stop] for s in group]) for group in plan.groups]
    return torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)


def with_tiles(tokens: VisualTokens, layout: Layout) -> VisualTokens:
    """The tokens with each one's tile taken from the layout; unchanged if the layout has other counts."""
    if [image.tokens for image in layout.images] != tokens.valid.sum(1).tolist():
        return tokens  # pruning refuses them later, with both counts in the message
    tile = torch.zeros_like(tokens.tile)
    for row, valid, image in zip(tile, tokens.valid, layout.images, strict=True):
        row[valid] = _of_each_token(image, range(len(image.tiles))).to(tile.device)
    return replace(tokens, tile=tile)


def with_frames(tokens: VisualTokens, layout: Layout) -> VisualTokens:
    """The tokens with the tile, frame and time of those of videos taken from the layout.

    Args:
        tokens: One group per image or video.
        layout: As many tokens for each. That of a later stage does not tell frames: tokens keep theirs.
    """
    videos = [number for number, image in enumerate(layout.images) if image.frames and image.full is None]
    if not videos:
        return tokens
    tile, frame = tokens.tile.clone(), tokens.frame.clone()
    time = torch.full(tile.shape, torch.nan, dtype=torch.float64, device=tile.device)
    for number in videos:
        valid, video = tokens.valid[number], layout.images[number]
        tile[number, valid] = _of_each_token(video, range(len(video.tiles))).to(tile.device)
        frame[number, valid] = _of_each_token(video, video.frame_of_tile).to(tile.device)
        if video.times:
            seconds = torch.tensor(video.times, dtype=torch.float64, device=tile.device)
            time[number, valid] = seconds[frame[number, valid]]
    timed = any(layout.images[number].times for number in videos)
    return replace(tokens, tile=tile, frame=frame, time=time if timed else tokens.time)


def layout_of(tokens: VisualTokens) -> Layout:
    """The layout of tokens, one group per image or video: one tile per image, one tile per frame; all in one prompt.

    Raises:
        TokensError: the tokens of a video are not in the order of its frames.
    """
    if int(tokens.frame.max()) < 1:
        return Layout.of(tokens.valid.sum(1).tolist())
    sizes: list[int | list[int]] = []
    for number, (frame, valid) in enumerate(zip(tokens.frame, tokens.valid, strict=True)):
        of_each = frame[valid]
        if len(of_each) and (bool((of_each.diff() < 0).any()) or int(of_each[0]) < 0):
            raise TokensError(f"video {number}: tokens are not in the order of their frames; sort them by `frame`")
        moving = len(of_each) and int(of_each[-1])
        sizes.append(of_each.bincount().tolist() if moving else len(of_each))
    return Layout.of(sizes, videos=[number for number, each in enumerate(sizes) if isinstance(each, list)])


def frame_counts(tokens: VisualTokens, images: Sequence[ImageLayout]) -> list[int]:
    """The number of frames of each video, in a later stage of those that have tokens left; 0 for images."""
    return [
        0 if not image.frames else len(image.frames) if image.full is None else len(frame[valid].unique())
        for image, frame, valid in zip(images, tokens.frame, tokens.valid, strict=True)
    ]


def _of_each_token(image: ImageLayout, of_tiles: Sequence[int]) -> Tensor:
    """(n,) the value of each token's tile."""
    return torch.tensor(of_tiles, dtype=torch.int64).repeat_interleave(torch.tensor(image.tiles, dtype=torch.int64))

"""From images to the groups of tokens that are selected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_core.errors import TokensError
from scope_core.structures.layout import ImageLayout, Layout, Plan
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


def group_index(plan: Plan, tokens: VisualTokens) -> Tensor | None:
    """(G, M) flat token indices of each group, -1 for padding; None if each group is one whole image."""
    whole = [((image, 0, entry.tokens),) for image, entry in enumerate(plan.layout.images)]
    if whole == [tuple((s.image, s.start, s.stop) for s in group) for group in plan.groups]:
        return None
    count = tokens.shape[1]
    if not plan.layout.images or not any(image.tokens for image in plan.layout.images):
        return torch.full((len(plan.groups), 1), -1, dtype=torch.int64, device=tokens.device)
    if not tokens.padded:  # each token stands at its number
        runs = [_runs([(s.image * count + s.start, s.image * count + s.stop) for s in group]) for group in plan.groups]
        members = [torch.cat([torch.arange(*run, device=tokens.device) for run in of_group]) for of_group in runs]
    else:
        indices = [row.nonzero().flatten() + image * count for image, row in enumerate(tokens.valid)]
        members = [torch.cat([indices[s.image][s.start : s.stop] for s in group]) for group in plan.groups]
    return pad_sequence(members, batch_first=True, padding_value=-1)


def _runs(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, of which those that follow each other are joined."""
    runs = [spans[0]]
    for start, stop in spans[1:]:
        if start == runs[-1][1]:
            runs[-1] = runs[-1][0], stop
        else:
            runs.append((start, stop))
    return runs


def ungroup(selection: Selection, index: Tensor, tokens: VisualTokens) -> Selection:
    """A selection from regrouped tokens, with one row for each of the original groups.

    Args:
        selection: One row per group of ``tokens.regroup(index)``.
        index: (G, M) flat tokens of each group, -1 for padding.
        tokens: (B, N) the original tokens.

    Returns:
        (B, K) picks: those of each original group follow the order of the new groups. What was merged into a token of
        another original group is merged into none.
    """
    images, count, _ = tokens.shape
    full = set(selection.counts) == {selection.picks.shape[1]}
    live = None if full else selection.picks >= 0

    def flattened(values: Tensor) -> Tensor:
        return values.flatten() if live is None else values[live]

    flat = flattened(index.gather(1, selection.picks if full else selection.picks.clamp(min=0)))
    owner = flat // count
    owner, order = owner.sort(stable=True)
    found = owner.bincount(minlength=images)
    counts = tuple(found.tolist())
    # the place of each pick in the row of its original group
    column = torch.arange(len(order), device=order.device) - (found.cumsum(0) - found)[owner]

    def per_image(values: Tensor, fill: float) -> Tensor:
        rows = values.new_full((images, max(counts, default=0)), fill)
        rows[owner, column] = values[order]
        return rows

    def assigned(targets: Tensor) -> Tensor:
        by_image = torch.full_like(tokens.row, -1).flatten()
        real = (index >= 0) & (targets >= 0)
        token, target = index[real], index.gather(1, targets.clamp(min=0))[real]
        same = token // count == target // count  # -1 for tokens merged into a token of another image
        by_image[token[same]] = target[same] % count
        return by_image.view_as(tokens.row)

    def shares(of_groups: Tensor) -> Tensor:
        by_image = of_groups.new_ones(tokens.row.numel())
        by_image[index[index >= 0]] = of_groups[index >= 0]
        return by_image.view_as(tokens.row)

    by_image = replace(
        selection,
        picks=per_image(flat % count, -1),
        gains=per_image(flattened(selection.gains), torch.nan),
        scores=per_image(flattened(selection.scores), torch.nan),
        stage=None if selection.stage is None else per_image(flattened(selection.stage), 0),
        assigned=None if selection.assigned is None else assigned(selection.assigned),
        shares=None if selection.shares is None else shares(selection.shares),
        allotted=None,  # it was given per group
        tokens=tokens,
    )
    by_image.__dict__["counts"] = counts
    return by_image


def with_tiles(tokens: VisualTokens, layout: Layout) -> VisualTokens:
    """The tokens of a bare tensor, with each one's tile taken from the layout; unchanged if it has other counts."""
    if [image.tokens for image in layout.images] != list(tokens.n_valid):
        return tokens  # pruning refuses them later, with both counts in the message
    if not tokens.moving and all(len(image.tiles) <= 1 for image in layout.images):
        return tokens  # all in tile 0, as tokens are by default
    tile = torch.zeros_like(tokens.tile)
    for number, image in enumerate(layout.images):
        if len(image.tiles) > 1:
            tile[number, tokens.valid[number]] = _of_each_token(image, range(len(image.tiles))).to(tile.device)
    return tokens.changed(tile=tile)


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
    return tokens.changed(tile=tile, frame=frame, time=time if timed else tokens.time)


def layout_of(tokens: VisualTokens) -> Layout:
    """The layout of tokens, one group per image or video: one tile per image, one tile per frame; all in one prompt.

    Raises:
        TokensError: the tokens of a video are not in the order of its frames.
    """
    if not tokens.moving:
        return _of_images(tokens.n_valid)
    sizes: list[int | list[int]] = []
    for number, (frame, valid) in enumerate(zip(tokens.frame, tokens.valid, strict=True)):
        of_each = frame[valid]
        if len(of_each) and (bool((of_each.diff() < 0).any()) or int(of_each[0]) < 0):
            raise TokensError(f"video {number}: tokens are not in the order of their frames; sort them by `frame`")
        moving = len(of_each) and int(of_each[-1])
        sizes.append(of_each.bincount().tolist() if moving else len(of_each))
    return Layout.of(sizes, videos=[number for number, each in enumerate(sizes) if isinstance(each, list)])


@lru_cache(maxsize=64)
def _of_images(counts: tuple[int, ...]) -> Layout:
    return Layout.of(counts)


def frame_counts(tokens: VisualTokens, images: Sequence[ImageLayout]) -> list[int]:
    """The number of frames of each video, in a later stage of those that have tokens left; 0 for images."""
    return [
        0 if not image.frames else len(image.frames) if image.full is None else len(frame[valid].unique())
        for image, frame, valid in zip(images, tokens.frame, tokens.valid, strict=True)
    ]


def _of_each_token(image: ImageLayout, of_tiles: Sequence[int]) -> Tensor:
    """(n,) the value of each token's tile."""
    return torch.tensor(of_tiles, dtype=torch.int64).repeat_interleave(torch.tensor(image.tiles, dtype=torch.int64))

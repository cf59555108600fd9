"""Exact division of token counts among groups, tiles, frames, images and videos. Pure; no tensors."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate

from scope_core.errors import BudgetError, did_you_mean, listed
from scope_core.structures.layout import Group, Layout

UNITS = ("tile", "frame", "image", "video", "total")
"""Units of a budget, each made of whole ones of those before it: see `fill`."""


def cells(layout: Layout, groups: Sequence[Group]) -> list[tuple[int, int, int, int]]:
    """The pieces of groups that lie in one tile each: ``(group, image, tile, tokens)``."""
    edges = [list(accumulate(image.tiles, initial=0)) for image in layout.images]
    pieces = []
    for number, group in enumerate(groups):
        for span in group:
            starts = edges[span.image]
            for tile in range(max(bisect_right(starts, span.start) - 1, 0), len(starts) - 1):
                if starts[tile] >= span.stop:
                    break
                overlap = min(span.stop, starts[tile + 1]) - max(span.start, starts[tile])
                if overlap > 0:
                    pieces.append((number, span.image, tile, overlap))
    return pieces


def apportion(total: int, sizes: Sequence[int]) -> list[int]:
    """Split ``total`` in proportion to ``sizes``, exactly: largest remainder, ties to the lowest index.

    ``apportion(640, [576, 576, 576]) == [214, 213, 213]``. No share exceeds its size.

    Raises:
        BudgetError: ``total`` is negative or exceeds the sum of the sizes.
    """
    available = sum(sizes)
    if not 0 <= total <= available:
        raise BudgetError(f"cannot keep {total} of {available} tokens")
    if available == 0:
        return [0] * len(sizes)
    exact = [Fraction(total * size, available) for size in sizes]
    shares = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))
    for place in order[: total - sum(shares)]:
        shares[place] += 1
    return shares


def fill(layout: Layout, groups: Sequence[Group], per: str, counts: Iterable[int]) -> tuple[int, ...]:
    """The tokens to keep of each group, from the tokens to keep of each unit.

    Args:
        layout: The images.
        groups: The groups of tokens that are selected together.
        per: The unit. ``"tile"``: each tile. ``"frame"``: each frame of a video; an image is one frame. ``"image"``:
            each image, and each video as a whole. ``"video"``: each video; images that share a prompt are frames of one
            video. ``"total"``: all together.
        counts: Tokens to keep of each unit, in the order of `units`.

    Returns:
        Tokens to keep of each group. The count of a unit that lies in several groups is divided by `apportion`.

    Raises:
        BudgetError: a later stage cannot count the tokens of a video's frames.
    """
    pieces = cells(layout, groups)
    kept = [0] * len(groups)
    for (_, members), count in zip(_members(layout, pieces, per), counts, strict=True):
        for piece, share in zip(members, apportion(count, [pieces[i][3] for i in members]), strict=True):
            kept[pieces[piece][0]] += share
    return tuple(kept)


def units(layout: Layout, groups: Sequence[Group], per: str) -> list[tuple[str, int]]:
    """``(label, candidate tokens)`` of each unit of a budget, e.g. ``("image 1", 576)``; ``per`` as for `fill`."""
    pieces = cells(layout, groups)
    return [(label, sum(pieces[i][3] for i in members)) for label, members in _members(layout, pieces, per)]


def _members(layout: Layout, pieces: Sequence[tuple[int, int, int, int]], per: str) -> list[tuple[str, list[int]]]:
    if per not in UNITS:
        raise BudgetError(f"'{per}' is not a unit of a budget{did_you_mean(per, UNITS)}; units: {listed(UNITS)}")
    frames = [image.frame_of_tile for image in layout.images] if per == "frame" else []
    found: dict[str, list[int]] = {}
    for number, (_, image, tile, _) in enumerate(pieces):
        entry = layout.images[image]
        item = layout.name_of(image)
        label = {
            "tile": f"{item}, tile {tile}",
            "frame": f"{item}, frame {frames[image][tile]}" if per == "frame" and entry.frames else item,
            "image": item,
            "video": item if entry.frames else f"images of prompt {entry.prompt}",
            "total": "all images together",
        }[per]
        found.setdefault(label, []).append(number)
    return list(found.items())

"""Layouts and plans: how many tokens each image has, and how many will be kept. Pure; no tensors.

Servers need the length of prompts before any tensor exists, so this module depends on shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import index
from typing import Any

from scope_core.display import brief_repr, card, counted, shortened, table_html
from scope_core.errors import BudgetError, TokensError, quoted


@dataclass(frozen=True)
class ImageLayout:
    """One image's candidate tokens.

    Attributes:
        tiles: Candidate tokens of each tile, in token order. One entry for models without tiles.
        prompt: Index of the prompt (batch row) that the image belongs to.
        separators: Number of newline tokens that the model adds around the candidates; an upper bound if the adapter
            drops some of them with the tokens around them.
        patches: Patches of all tiles, with those of padding that never become tokens, for models whose papers count
            them (five tiles of 576 are 2880); None for other models.
        full: Candidate tokens before the first stage, if this layout is for a later one; None for the first stage.
    """

    tiles: tuple[int, ...]
    prompt: int = 0
    separators: int = 0
    patches: int | None = None
    full: int | None = None

    __repr__ = brief_repr

    @property
    def tokens(self) -> int:
        """Candidate tokens of the image."""
        return sum(self.tiles)

    @property
    def original(self) -> int:
        """Candidate tokens of the image before the first stage."""
        return self.tokens if self.full is None else self.full


@dataclass(frozen=True)
class Layout:
    """The images of one call, in placeholder order.

    Attributes:
        images: One entry per image.
        stage: Number of the stage that this layout is for, from 0.
        schedule: Interception points of all stages; empty if unknown.
    """

    images: tuple[ImageLayout, ...]
    stage: int = 0
    schedule: tuple[str, ...] = ()

    @classmethod
    def of(cls, tokens: Iterable[int | Sequence[int]], *, prompts: Sequence[int] | None = None) -> Layout:
        """A layout from token counts: an int per image, or a sequence of ints for an image's tiles.

        Raises:
            TokensError: an entry is not a token count, or there are not as many prompts as images.
        """
        if isinstance(tokens, str) or not isinstance(tokens, Iterable):
            raise TokensError(f"give a list with the tokens of each image, e.g. [576, 576], not {quoted(tokens)}")
        images = [_tiles(image, f"image {number}") for number, image in enumerate(tokens)]
        rows = list(prompts) if prompts is not None else [0] * len(images)
        if len(rows) != len(images):
            raise TokensError(f"{len(rows)} prompts were given for {len(images)} images; give the prompt of each image")
        return cls(tuple(ImageLayout(tiles, prompt) for tiles, prompt in zip(images, rows, strict=True)))

    def __repr__(self) -> str:
        """As a call of `Layout.of`, shortened."""
        tokens = [image.tokens if len(image.tiles) == 1 else list(image.tiles) for image in self.images]
        prompts = [image.prompt for image in self.images]
        more = f", prompts={quoted(prompts)}" if any(prompts) else ""
        return shortened(f"Layout.of({quoted(tokens)}{more})")

    def after(self, kept: Sequence[int]) -> Layout:
        """The layout of the next stage, in which ``kept[i]`` tokens of image i are left, no longer divided by tile."""
        images = tuple(
            replace(image, tiles=(count,), full=image.original, separators=0)
            for image, count in zip(self.images, kept, strict=True)
        )
        return replace(self, images=images, stage=self.stage + 1)


@dataclass(frozen=True)
class Span:
    """Tokens ``start`` to ``stop`` (exclusive) of image ``image``."""

    image: int
    start: int
    stop: int

    @property
    def tokens(self) -> int:
        """Number of tokens in the span."""
        return self.stop - self.start


Group = tuple[Span, ...]
"""Tokens that are selected together, in order."""


@dataclass(frozen=True)
class Plan:
    """The number of tokens that each group keeps, known before any tensor exists.

    Attributes:
        layout: The layout that was planned for.
        groups: The groups of tokens that are selected together.
        counts: Tokens kept of each group.
        exact: False if the budget or the selector of this stage, or of an earlier one, adapts to the image; ``counts``
            are then upper bounds.
        later: The plans of later stages. Empty if there are none, or if images share a budget, so that the number of
            tokens that a later stage gets of each image is known only after selection.
        memory: Bytes that N x N matrices take at once during selection; 0 if there are none.
        in_blocks: True if similarities can be computed in blocks instead of as one matrix: always, if ``memory`` is 0,
            else if ``memory`` bytes are not free. Blocks take 8 bytes for each number of the largest group's vectors,
            and some 16 MB.
    """

    layout: Layout
    groups: tuple[Group, ...]
    counts: tuple[int, ...]
    exact: bool = True
    later: tuple[Plan, ...] = ()
    memory: int = 0
    in_blocks: bool = False

    def __repr__(self) -> str:
        tokens = sum(image.tokens for image in self.layout.images)
        some = "" if self.exact else "at most "
        later = f", then {counted(len(self.later), 'later stage')}" if self.later else ""
        return f"Plan({tokens} -> {some}{self.total} tokens of {counted(len(self.layout.images), 'image')}{later})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the groups, and the tokens that each keeps."""
        rows = [
            (
                ", ".join(f"image {span.image}, tokens {span.start} to {span.stop - 1}" for span in group[:4])
                + (f" and {len(group) - 4} more" if len(group) > 4 else ""),
                sum(span.tokens for span in group),
                count if self.exact else f"at most {count}",
            )
            for group, count in zip(self.groups, self.counts, strict=True)
        ]
        later = "".join(f"<div>then: {stage._repr_html_()}</div>" for stage in self.later)
        memory = f"similarities take {self.memory / 1e6:,.1f} MB" if self.memory else ""
        return card(repr(self), table_html(("group", "tokens", "kept"), rows), later, aside=memory)

    @property
    def images(self) -> tuple[int, ...]:
        """Tokens kept of each image.

        Raises:
            BudgetError: a group holds tokens of several images, so only its total is known before selection.
        """
        kept = [0] * len(self.layout.images)
        for group, count in zip(self.groups, self.counts, strict=True):
            owners = {span.image for span in group}
            if len(owners) > 1:
                raise BudgetError(
                    f"images {', '.join(map(str, sorted(owners)))} share one budget of {count} tokens and are selected "
                    f"together, so the count of each is known only after selection; use plan.counts or plan.total"
                )
            kept[owners.pop()] += count
        return tuple(kept)

    @property
    def total(self) -> int:
        """Tokens kept in the whole call."""
        return sum(self.counts)


def _tiles(image: Any, where: str) -> tuple[int, ...]:
    tiles = []
    for tile in image if isinstance(image, Iterable) and not isinstance(image, str) else (image,):
        try:
            tiles.append(index(tile))  # NumPy's integers too
        except TypeError:
            tiles.append(-1)
        if tiles[-1] < 0:
            raise TokensError(f"{where}: {quoted(tile)} is not a token count; give whole numbers of at least 0")
    return tuple(tiles)


def cells(layout: Layout, groups: Sequence[Group]) -> list[tuple[int, int, int, int]]:
    """The pieces of groups that lie in one tile each: ``(group, image, tile, tokens)``."""
    pieces = []
    for number, group in enumerate(groups):
        for span in group:
            start = 0
            for tile, tokens in enumerate(layout.images[span.image].tiles):
                overlap = min(span.stop, start + tokens) - max(span.start, start)
                if overlap > 0:
                    pieces.append((number, span.image, tile, overlap))
                start += tokens
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
    """The tokens to keep of each group, from the tokens to keep of each unit (a tile, an image, or all images).

    Args:
        layout: The images.
        groups: The groups of tokens that are selected together.
        per: The unit: ``"tile"``, ``"image"`` or ``"total"``.
        counts: Tokens to keep of each unit, in the order of `units`.

    Returns:
        Tokens to keep of each group. The count of a unit that lies in several groups is divided by `apportion`.
    """
    pieces = cells(layout, groups)
    kept = [0] * len(groups)
    for (_, members), count in zip(_members(pieces, per), counts, strict=True):
        for piece, share in zip(members, apportion(count, [pieces[i][3] for i in members]), strict=True):
            kept[pieces[piece][0]] += share
    return tuple(kept)


def units(layout: Layout, groups: Sequence[Group], per: str) -> list[tuple[str, int]]:
    """``(label, candidate tokens)`` of each unit of a budget, e.g. ``("image 1", 576)``; ``per`` as for `fill`."""
    pieces = cells(layout, groups)
    return [(label, sum(pieces[i][3] for i in members)) for label, members in _members(pieces, per)]


def _members(pieces: Sequence[tuple[int, int, int, int]], per: str) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for number, (_, image, tile, _) in enumerate(pieces):
        label = {"tile": f"image {image}, tile {tile}", "image": f"image {image}", "total": "all images together"}[per]
        found.setdefault(label, []).append(number)
    return list(found.items())

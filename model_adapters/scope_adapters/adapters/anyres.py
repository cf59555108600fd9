"""Models that cut an image into tiles and pack their tokens with ``pack_image_features``.

The patch that a token came from is found by running the model's own packing on patch numbers. So no packing code is
copied, and a new release may change it.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.projected import ProjectedTower, S, Seen
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import unwrap
from scope_adapters.towers.canvas import CANVAS
from scope_adapters.towers.layouts import image_size
from scope_adapters.towers.trial import noise
from scope_core import AdapterError, Layout, VisualTokens
from scope_core.adapters import Declaration, Schedule, Session, replace_attribute, resolve
from scope_core.parts import ImageLayout


@dataclass(frozen=True)
class Packing:
    """The packed rows of one image, and the patches that they came from.

    Attributes:
        newline: (R,) bool: rows that are newline tokens.
        places: (N,) int64 row of each candidate, tile by tile, the overview tile first.
        source: (N,) int64 number of each candidate's patch, tile * n + patch; -1 where a row merges several patches.
        tiles: Number of candidates of each tile. Rows that merge patches count as one tile.
        patches: Number of patches of all tiles, padding included.
    """

    newline: Tensor
    places: Tensor
    source: Tensor
    tiles: tuple[int, ...]
    patches: int

    @classmethod
    def of(cls, rows: Tensor, check: Tensor, tiles: int) -> Packing:
        """From patch numbers that went through the packing.

        Args:
            rows: (R, 2) packed patch numbers and packed ``check``, -1 for newlines.
            check: (tiles * n,) a random number for each patch; a row that does not hold both exactly merges patches.
            tiles: Number of tiles, the overview first.
        """
        newline = rows[:, 0] < 0
        places = (~newline).nonzero().flatten()
        source = rows[places, 0].long()
        if bool((rows[places, 0] == source).all() and (rows[places, 1] == check[source]).all()):
            order = source.argsort()
            per_tile = (source // (len(check) // tiles)).bincount(minlength=tiles)
            return cls(newline, places[order], source[order], tuple(per_tile.tolist()), len(check))
        overview = len(check) // tiles
        source[overview:] = -1
        return cls(newline, places, source, (overview, len(places) - overview), len(check))

    @property
    def merged(self) -> bool:
        """True if some rows merge several patches."""
        return bool((self.source < 0).any())

    def canvas(self) -> Tensor:
        """(N, 4) row and column of each candidate on the image put together of its tiles, and that image's size.

        Four zeros for candidates of the overview, and of an image of one tile. Every row of the image ends with a
        newline token.
        """
        found = torch.zeros(len(self.places), 4)
        beyond = torch.arange(len(self.places)) >= self.tiles[0]
        if not bool(beyond.any()):
            return found
        places = self.places[beyond]
        ordered, order = places.sort()
        line = torch.unique(self.newline.cumsum(0)[ordered], return_inverse=True)[1]
        width = line.bincount()
        col = torch.arange(len(ordered)) - (width.cumsum(0) - width)[line]
        size = torch.stack([line.max() + 1, width.max()]).expand(len(ordered), 2)
        rows = torch.empty(len(ordered), 4)
        rows[order] = torch.cat([line[:, None], col[:, None], size], 1).float()
        found[beyond] = rows
        return found

    def among(self, patches: Tensor) -> Packing:
        """The same rows, with only ``patches`` (M,) as candidates."""
        count = self.patches // len(self.tiles)
        tiles = tuple((patches // count).bincount(minlength=len(self.tiles)).tolist())
        return replace(self, places=self.places[patches], source=patches, tiles=tiles)

    def ended_by(self, kept: Tensor) -> Tensor:
        """(R,) bool: newlines at the end of a row with at least one kept token; the overview tile has no newlines.

        Args:
            kept: (R,) bool.
        """
        row = self.newline.cumsum(0) - self.newline.long()
        overview = self.tiles[0] if len(self.tiles) > 1 else 0
        tiled = kept & ~self.newline & (torch.arange(len(kept)) >= overview)
        alive = row.new_zeros(int(row.max()) + 1).index_add(0, row, tiled.long())
        return self.newline & (alive[row] > 0)


class AnyRes(ProjectedTower[S]):
    """Candidates are the patches that reach the language model, tile by tile; newline tokens are separators."""

    functions: tuple[str, ...] = ("image_size_to_num_patches",)
    """Functions that are called in the module that defines the model's class."""
    packing: tuple[str, ...] = ()
    """Further arguments of ``pack_image_features``, taken from the call or else from the config."""

    @property
    @abstractmethod
    def newlines(self) -> str:
        """The treatment of newline tokens: "keep", "drop" or "keep_if_row_kept"."""

    def check(self, model: Any) -> Declaration:
        """The declaration, once the packing and its functions were found, too."""
        declaration = super().check(model)
        base = base_of(unwrap(model))
        resolve(base, "pack_image_features", what=declaration.model)
        for name in self.functions:
            own_function(base, name)
        return declaration

    def check_pruner(self, model: Any, pruner: Schedule, given: Collection[str] = ()) -> None:
        """Refuse an order that does not go with newline tokens."""
        super().check_pruner(model, pruner, given)
        if self.has_newlines:
            check_order(pruner, self.newlines, str(self.spec.name))

    @property
    def has_newlines(self) -> bool:
        """True if newline tokens stand between candidates."""
        return True

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout of images of these sizes, each the only one of its prompt. No pixels are needed."""
        if not sizes:
            return Layout(())
        model = unwrap(model)
        config, (rows, cols) = model.config, self._tower(model).grid()
        tiles, side = own_function(base_of(model), self.functions[0]), config.vision_config.image_size
        counts = [tiles(list(size), config.image_grid_pinpoints, side) for size in sizes]
        packings = self.packings(base_of(model), counts, rows * cols, {"image_sizes": torch.tensor(list(sizes))})
        return layout_from(packings, range(len(counts)), self.newlines)

    def trial_images(self, model: Any) -> Mapping[str, Any] | None:
        """One square image, in the tiles that the model expects of it."""
        tower, base = self._tower(model).module, base_of(model)
        side = image_size(tower)
        tiles = own_function(base, self.functions[0])(list(side), model.config.image_grid_pinpoints, side[0])
        return {"pixel_values": noise(tower, 1, tiles, 3, *side), "image_sizes": torch.tensor([side])}

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """The tiles as packed."""
        return layout_from(encoded.geometry, prompts, self.newlines)

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass over all tiles; one group of tokens per image."""
        base = base_of(model)
        counts: list[int] = []
        with ExitStack() as undo:
            inner = base.pack_image_features

            def noted(image_features: Any, *args: Any, **kwargs: Any) -> Any:
                counts.extend(len(tiles) for tiles in image_features)
                return inner(image_features, *args, **kwargs)

            replace_attribute(base, "pack_image_features", noted, undo)
            seen = self.seen(model, images, attachment)
        packings = self.packings(base, counts, seen.tokens.shape[1], images)
        tokens = self.tokens(base, numbered(seen.tokens, counts), packings, images)
        if CANVAS in attachment.needs:
            tokens = on_canvas(tokens, self.canvases(base, packings, counts, seen.tokens.shape[1], images))
        rows, placeholders = self.rows(base, seen, counts, images)
        places = [packing.places for packing in packings]
        stay = separators(packings, self.newlines)
        project = self.project(model, attachment)
        return Encoded(seen.output, rows, tokens, places, stay, placeholders, packings, project)

    def features(self, base: Any, images: Mapping[str, Any]) -> Any:
        """The features, packed by image; transformers 4.52 packs them only after ``get_image_features``."""
        output = super().features(base, images)
        if output.pooler_output[0].dim() == 3:
            output.pooler_output = self.packed(base, output.pooler_output, images, base.image_newline)
        return output

    def rows(
        self, base: Any, seen: Seen, counts: Sequence[int], images: Mapping[str, Any]
    ) -> tuple[list[Tensor], list[int] | None]:
        """(R_i, D) per image that an unpruned model would read; and the placeholders, if their number differs."""
        return list(seen.output.pooler_output), None

    def packings(
        self, base: Any, counts: Sequence[int], patches: int, images: Mapping[str, Any], *, newline: bool = True
    ) -> list[Packing]:
        """The packing of each image, from ``counts[i]`` tiles of ``patches`` patches."""
        marks = []
        for count in counts:
            numbers = torch.arange(count * patches, dtype=torch.float64)
            check = torch.rand(count * patches, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            marks.append(torch.stack([numbers, check], 1).view(count, patches, 2))
        rows = self.packed(base, marks, images, torch.full((2,), -1.0, dtype=torch.float64) if newline else None)
        return [Packing.of(row, mark[..., 1].flatten(), len(mark)) for row, mark in zip(rows, marks, strict=True)]

    def canvases(
        self, base: Any, packings: Sequence[Packing], counts: Sequence[int], patches: int, images: Mapping[str, Any]
    ) -> list[Tensor]:
        """(N_i, 4) per image: the signal `CANVAS` of its candidates; see `Packing.canvas`."""
        return [packing.canvas() for packing in packings]

    def packed(
        self, base: Any, tiles: Sequence[Tensor], images: Mapping[str, Any], newline: Tensor | None
    ) -> list[Tensor]:
        """(R_i, C) per image: the model's own packing of (T_i, n, C) tiles."""
        options = {name: images.get(name, getattr(base.config, name)) for name in self.packing}
        rows, lengths = base.pack_image_features(tiles, images["image_sizes"], image_newline=newline, **options)
        return list(rows.split(lengths.tolist()) if hasattr(rows, "split") else rows)

    def tokens(
        self, base: Any, tiles: VisualTokens, packings: Sequence[Packing], images: Mapping[str, Any]
    ) -> VisualTokens:
        """The candidates, one group per image, from one group per tile."""
        starts = accumulate((packing.patches for packing in packings), initial=0)
        index = [p.source + start for p, start in zip(packings, starts, strict=False)]
        return tiles.regroup(pad_sequence(index, True, -1).to(tiles.device))


def on_canvas(tokens: VisualTokens, canvases: Sequence[Tensor]) -> VisualTokens:
    """The tokens, one group per image, with the signal `CANVAS` from that of each image's candidates."""
    canvas = pad_sequence(list(canvases), True).to(tokens.device)
    return replace(tokens, signals=tokens.signals.beside({CANVAS: canvas}))


def layout_from(packings: Sequence[Packing], prompts: Sequence[int], newlines: str) -> Layout:
    """The tiles as packed, and the number of newlines that stay if every candidate does."""
    kept = [0 if newlines == "drop" else int(packing.newline.sum()) for packing in packings]
    return Layout(
        tuple(
            ImageLayout(packing.tiles, prompt, count, packing.patches)
            for packing, prompt, count in zip(packings, prompts, kept, strict=True)
        )
    )


def separators(packings: Sequence[Packing], newlines: str) -> Callable[[int, Tensor], Tensor]:
    """A function ``(image, kept) -> (R,) bool``: the newlines that stay, as ``newlines`` asks."""

    def stay(image: int, kept: Tensor) -> Tensor:
        packing = packings[image]
        if newlines == "keep_if_row_kept":
            return packing.ended_by(kept.cpu()).to(kept.device)
        newline = packing.newline.to(kept.device)
        return newline if newlines == "keep" else newline & False

    return stay


def check_order(pruner: Schedule, newlines: str, adapter: str) -> None:
    """Refuse an order in which kept tokens leave their rows while newline tokens between the rows stay.

    Raises:
        AdapterError: names the order and the two remedies.
    """
    order = pruner.spec.order
    if order != "raster" and newlines != "drop":
        raise AdapterError(
            f"{pruner.label}: with `order: {order}` kept tokens leave their rows, but the newline tokens between the "
            f"rows stay; drop them with `adapter: {{name: {adapter}, newlines: drop}}`, or set `order: raster`"
        )


def numbered(tokens: VisualTokens, counts: Sequence[int]) -> VisualTokens:
    """Tokens, one group per tile, with the numbers of their image and of their tile within the image."""
    image = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    tile = torch.cat([torch.arange(count) for count in counts])
    shape = tokens.shape[:2]
    return replace(
        tokens,
        image=image.to(tokens.device)[:, None].expand(shape),
        tile=tile.to(tokens.device)[:, None].expand(shape),
    )


def own_function(base: Any, name: str) -> Any:
    """A function of the module that defines the class of ``base`` or one of its parents.

    Raises:
        AdapterError: no module has it.
    """
    modules = [sys.modules[cls.__module__] for cls in type(base).__mro__]
    found = next((module for module in modules if hasattr(module, name)), None)
    if found is None:
        raise AdapterError(
            f"{type(base).__name__}: {modules[0].__name__} has no function '{name}'; this release of transformers may "
            f"have moved it; run `scope doctor`"
        )
    return getattr(found, name)

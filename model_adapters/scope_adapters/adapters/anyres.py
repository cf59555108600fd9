"""Models that cut an image into tiles and pack their tokens with ``pack_image_features``.

Which token came from which patch is learned by running the model's own packing on patch numbers, so no
packing code is copied and a change of it in a new release is followed.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
from scope_core import AdapterError, Layout, VisualTokens
from scope_core.adapters import Declaration, Schedule, Session, replace_attribute, resolve
from scope_core.parts import ImageLayout


@dataclass(frozen=True)
class Packing:
    """How one image's packed rows relate to its tiles.

    Attributes:
        newline: (R,) bool: rows that are newline tokens.
        places: (N,) int64 row of each candidate, tile by tile, the overview tile first.
        source: (N,) int64 where each candidate is in its image: tile * n + patch; -1 where a row mixes patches.
        tiles: Candidates of each tile. Rows that mix patches are one tile, however many they came from.
        patches: Patches of all tiles, padding included.
    """

    newline: Tensor
    places: Tensor
    source: Tensor
    tiles: tuple[int, ...]
    patches: int

    @classmethod
    def of(cls, rows: Tensor, check: Tensor, tiles: int) -> Packing:
        """What packing made of patch numbers.

        Args:
            rows: (R, 2) packed patch numbers and packed ``check``, -1 for newlines.
            check: (tiles * n,) random numbers of the patches; rows that hold neither number exactly mix patches.
            tiles: How many there are, the overview first.
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
    def mixed(self) -> bool:
        """Whether rows mix patches."""
        return bool((self.source < 0).any())

    def among(self, patches: Tensor) -> Packing:
        """The same rows with no other candidates than ``patches`` (M,), of all that there are."""
        count = self.patches // len(self.tiles)
        tiles = tuple((patches // count).bincount(minlength=len(self.tiles)).tolist())
        return replace(self, places=self.places[patches], source=patches, tiles=tiles)

    def ended_by(self, kept: Tensor) -> Tensor:
        """(R,) bool: newlines that end a row of which a token is in ``kept`` (R,); the overview tile has none."""
        row = self.newline.cumsum(0) - self.newline.long()
        overview = self.tiles[0] if len(self.tiles) > 1 else 0
        tiled = kept & ~self.newline & (torch.arange(len(kept)) >= overview)
        alive = row.new_zeros(int(row.max()) + 1).index_add(0, row, tiled.long())
        return self.newline & (alive[row] > 0)


class AnyRes(ProjectedTower[S]):
    """Candidates are the patches that reach the language model, tile by tile; newline tokens are separators."""

    functions: tuple[str, ...] = ("image_size_to_num_patches",)
    """Functions of the model's own module that are called."""
    packing: tuple[str, ...] = ()
    """Arguments of ``pack_image_features`` besides features, sizes and newline; each from the call or the config."""

    @property
    @abstractmethod
    def newlines(self) -> str:
        """What becomes of newline tokens: "keep", "drop" or "keep_if_row_kept"."""

    def check(self, model: Any) -> Declaration:
        """Also the packing, and the functions beside it."""
        declaration = super().check(model)
        base = base_of(unwrap(model))
        resolve(base, "pack_image_features", what=declaration.model)
        for name in self.functions:
            own_function(base, name)
        return declaration

    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Also refuse an order that newline tokens stand in the way of."""
        if self.has_newlines:
            check_order(attachment.pruner, self.newlines, str(self.spec.name))
        super().install(model, attachment, undo)

    @property
    def has_newlines(self) -> bool:
        """Whether newline tokens stand between candidates."""
        return True

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """Each image as if it were the only one of its prompt. No picture is needed."""
        if not sizes:
            return Layout(())
        model = unwrap(model)
        config, (rows, cols) = model.config, self._tower(model).grid()
        tiles, side = own_function(base_of(model), self.functions[0]), config.vision_config.image_size
        counts = [tiles(list(size), config.image_grid_pinpoints, side) for size in sizes]
        packings = self.packings(base_of(model), counts, rows * cols, {"image_sizes": torch.tensor(list(sizes))})
        return laid_out(packings, range(len(counts)), self.newlines)

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles as packed."""
        return laid_out(encoded.geometry, prompts, self.newlines)

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """One pass over all tiles of all images; tokens are regrouped by image."""
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
        rows, placeholders = self.rows(base, seen, counts, images)
        places = [packing.places for packing in packings]
        stay = separators(packings, self.newlines)
        project = self.project(model, attachment)
        return Encoded(seen.output, rows, tokens, places, stay, placeholders, packings, project)

    def features(self, base: Any, images: Mapping[str, Any]) -> Any:
        """With every image packed, also where the model's forward does that behind ``get_image_features`` (4.52)."""
        output = super().features(base, images)
        if output.pooler_output[0].dim() == 3:
            output.pooler_output = self.packed(base, output.pooler_output, images, base.image_newline)
        return output

    def rows(
        self, base: Any, seen: Seen, counts: Sequence[int], images: Mapping[str, Any]
    ) -> tuple[list[Tensor], list[int] | None]:
        """(R_i, D) per image, what the language model would read; and placeholders if they are not as many."""
        return list(seen.output.pooler_output), None

    def packings(
        self, base: Any, counts: Sequence[int], patches: int, images: Mapping[str, Any], *, newline: bool = True
    ) -> list[Packing]:
        """How the model packs ``counts[i]`` tiles of ``patches`` each: its packing, run on patch numbers."""
        marks = []
        for count in counts:
            numbers = torch.arange(count * patches, dtype=torch.float64)
            check = torch.rand(count * patches, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            marks.append(torch.stack([numbers, check], 1).view(count, patches, 2))
        rows = self.packed(base, marks, images, torch.full((2,), -1.0, dtype=torch.float64) if newline else None)
        return [Packing.of(row, mark[..., 1].flatten(), len(mark)) for row, mark in zip(rows, marks, strict=True)]

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
        """One group per image, of its candidates, from one group per tile."""
        starts = accumulate((packing.patches for packing in packings), initial=0)
        index = [p.source + start for p, start in zip(packings, starts, strict=False)]
        return tiles.regroup(pad_sequence(index, True, -1).to(tiles.device))


def laid_out(packings: Sequence[Packing], prompts: Sequence[int], newlines: str) -> Layout:
    """Tiles as packed, and how many newlines stay if every candidate does."""
    kept = [0 if newlines == "drop" else int(packing.newline.sum()) for packing in packings]
    return Layout(
        tuple(
            ImageLayout(packing.tiles, prompt, count, packing.patches)
            for packing, prompt, count in zip(packings, prompts, kept, strict=True)
        )
    )


def separators(packings: Sequence[Packing], newlines: str) -> Callable[[int, Tensor], Tensor]:
    """``(image, kept) ->`` the newlines that stay: all ("keep"), none ("drop") or by row ("keep_if_row_kept")."""

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
        AdapterError: names the order, and the two ways out.
    """
    order = pruner.spec.order
    if order != "raster" and newlines != "drop":
        raise AdapterError(
            f"{pruner.label}: with `order: {order}` kept tokens leave their rows, and newline tokens between the rows "
            f"stay; drop them with `adapter: {{name: {adapter}, newlines: drop}}`, or set `order: raster`"
        )


def numbered(tokens: VisualTokens, counts: Sequence[int]) -> VisualTokens:
    """Tokens with one group per tile, each token knowing its image and its tile within it."""
    image = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    tile = torch.cat([torch.arange(count) for count in counts])
    shape = tokens.shape[:2]
    return replace(
        tokens,
        image=image.to(tokens.device)[:, None].expand(shape),
        tile=tile.to(tokens.device)[:, None].expand(shape),
    )


def own_function(base: Any, name: str) -> Any:
    """A function of the module that defines ``base``'s class, or one of its parents."""
    modules = [sys.modules[cls.__module__] for cls in type(base).__mro__]
    found = next((module for module in modules if hasattr(module, name)), None)
    if found is None:
        raise AdapterError(
            f"{type(base).__name__}: there is no function '{name}' in {modules[0].__name__}; this release of "
            f"transformers may have moved it; see `scope doctor`"
        )
    return getattr(found, name)

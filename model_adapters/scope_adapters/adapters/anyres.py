"""Models that cut an image into tiles and pack their tokens with ``pack_image_features``.

The patch that a token came from is found by running the model's own packing on patch numbers. So no packing code is
copied, and a new release may change it.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.packing import Packing, check_order, layout_from, numbered, on_canvas, separators
from scope_adapters.adapters.projected import ProjectedTower, S, Seen
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import unwrap
from scope_adapters.towers.canvas import CANVAS
from scope_adapters.towers.layouts import image_size
from scope_adapters.towers.trial import noise
from scope_core import AdapterError, Layout, VisualTokens
from scope_core.adapters import Declaration, Schedule, Session, replace_attribute, resolve


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

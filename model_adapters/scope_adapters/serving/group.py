"""Images that one spec prunes together: from the features of their tiles to rows for the language model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from scope_adapters.adapters.packing import separators
from scope_adapters.hosts.huggingface.image_rows import raster
from scope_adapters.hosts.huggingface.in_decoder import everything
from scope_adapters.serving.geometry import Geometry, Size
from scope_adapters.serving.receipts import Call, wait
from scope_core import Pruner, Selection, VisualTokens


class Group:
    """Images of one batch that are pruned by one spec.

    Args:
        geometry: Geometry of their candidates.
        pruner: Pruner of the spec.
        sizes: Their sizes.
    """

    def __init__(self, geometry: Geometry, pruner: Pruner, sizes: Sequence[Size]) -> None:
        self.geometry, self.pruner = geometry, pruner
        self.sizes = tuple(sizes)
        self.packings = [geometry.packing(size) for size in sizes]
        self.layout = geometry.layout(sizes)
        self.counts = pruner.plan(self.layout).images
        self.promised = [count + image.separators for count, image in zip(self.counts, self.layout.images, strict=True)]

    def tokens(self, features: Tensor, found: Mapping[str, Tensor]) -> VisualTokens:
        """The candidates, one group per image, from the features (T, n, D) of all tiles."""
        row, col = self.geometry.cells(features, self.sizes)
        tiles = VisualTokens.of(features, row=row, col=col, signals=found)
        return self.geometry.tokens(tiles, self.packings, self.sizes)

    def select(self, tokens: VisualTokens, call: Call, by: VisualTokens | None = None) -> tuple[Tensor, Tensor]:
        """The rows for the language model, before the projector if the spec merges there.

        Args:
            tokens: The candidates.
            call: Sums to which the selection is added.
            by: Tokens at the same places to select by; by default the candidates themselves.

        Returns:
            (M, D) rows of all images, with the columns of `Geometry.columns`; and (R,) int64 number of the row at each
            place, M for a newline.
        """
        wait(tokens.features)
        start = time.perf_counter()
        selection = self._selection(tokens if by is None else by)
        wait(tokens.features)
        seconds = time.perf_counter() - start
        merged = selection.mixed
        cls = tokens.signal(merged.cls_signal) if merged is not None and merged.cls_signal else None
        rows = selection.merge(tokens.features, cls)
        counts = selection.row_counts
        flat = torch.cat([row[:count] for row, count in zip(rows, counts, strict=True)])
        if self.geometry.places:  # that of the kept token which a row stands for
            source = torch.cat([row[:count] for row, count in zip(selection.rows, counts, strict=True)])
            flat = torch.cat([flat, self.geometry.columns(self.sizes)[source.cpu()].to(flat)], -1)
        order = torch.cat(list(self._orders(selection, len(flat))))
        call.note(self.layout, selection, seconds)
        return flat, order

    def _selection(self, tokens: VisualTokens) -> Selection:
        plain = self.pruner.spec.order == "raster" and not self.pruner.parts["merger"].mixes
        if plain and list(self.counts) == [image.tokens for image in self.layout.images]:
            return everything(tokens)  # a full budget needs no selection
        return self.pruner.prune(tokens, self.layout)

    def _orders(self, selection: Selection, newline: int) -> Iterator[Tensor]:
        stay, start = separators(self.packings, self.geometry.newlines), 0
        for image, count in enumerate(selection.row_counts):
            packing, device = self.packings[image], selection.picks.device
            numbers = torch.arange(start, start + count, device=device)
            apart = stay(image, packing.newline.to(device))
            if selection.order == "raster":  # rows of the whole image, not tile by tile
                source = selection.rows[image, :count]
                order = raster(source, packing.places.to(device), apart)
                numbers = torch.cat([numbers, numbers.new_full((int(apart.sum()),), newline)])[order]
            start += count
            yield numbers

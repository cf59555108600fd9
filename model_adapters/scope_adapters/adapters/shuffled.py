"""Models whose tokens are several patches each, and whose images are several tiles.

The patches of each token are learnt by running the model's own merging and asking which patches each token depends on.
Signals of patches become signals of tokens: attention is summed over a token's patches (it is shared out among keys),
hidden states and keys are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.packing import numbered
from scope_adapters.adapters.projected import ProjectedTower, S
from scope_adapters.compat.transformers import base_of
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.prompt import runs
from scope_adapters.hosts.methods import unwrap
from scope_adapters.towers.probe import Capture
from scope_core import AdapterError, AttachError, Layout
from scope_core.adapters import Declaration, Session, resolve
from scope_core.parts import ImageLayout, parse_signal

_AXES = {
    "vision.cls_attention": 2,
    "vision.received_attention": 2,
    "vision.joint_attention": 1,
    "vision.mean_attention": 1,
    "vision.hidden": 1,
    "vision.keys": 2,
    "vision.cls": 1,
}
"""The patch axis of each signal."""


@dataclass(frozen=True)
class Patches:
    """The patches of each token.

    Attributes:
        index: (N, P) int64: the P patches of each token, numbered row by row.
        grid: (rows, columns) of patches.
    """

    index: Tensor
    grid: tuple[int, int]

    def to_tokens(self, name: str, signal: Callable[[], Tensor]) -> Tensor:
        """A signal of tokens, from a signal of patches."""
        family, tensor = parse_signal(name)[0], signal()
        parts = tensor.movedim(_AXES[family], 0)[self.index.to(tensor.device)]
        merged = parts.sum(1) if "attention" in family else parts.mean(1)
        return merged.movedim(0, _AXES[family])

    def cells(self) -> tuple[Tensor, Tensor]:
        """(N,) rows and columns of the token grid, from the place of each token's first patch."""
        first = self.index.amin(1)
        row, col = first // self.grid[1], first % self.grid[1]
        return torch.unique(row, return_inverse=True)[1], torch.unique(col, return_inverse=True)[1]


def learnt(merge: Callable[[Tensor], Tensor], grid: tuple[int, int], where: str) -> Patches:
    """The patches that each token depends on, by the gradient of the model's own merging.

    Args:
        merge: (1, n, 1) values of patches -> (1, ..., C) values of tokens.
        grid: (rows, columns) of the n patches.
        where: The merging's place in the model, for messages.

    Raises:
        AdapterError: it drops the gradient, or its tokens overlap or are made of unequal numbers of patches.
    """
    count = grid[0] * grid[1]
    with torch.inference_mode(False), torch.enable_grad():
        values = torch.zeros(1, count, 1, dtype=torch.float64, requires_grad=True)
        tokens = merge(values)
        if not tokens.requires_grad:
            raise AdapterError(f"{where} gives values that do not depend on those of the patches; override `merge`")
        tokens = tokens.flatten(0, -2).sum(-1)
        numbers = torch.arange(1.0, len(tokens) + 1, dtype=torch.float64)
        check = torch.rand(len(tokens), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        share, number, checked = (
            torch.autograd.grad(tokens, values, weights, retain_graph=True)[0].flatten()
            for weights in (torch.ones_like(numbers), numbers, check)
        )
    used = share.ne(0).nonzero().flatten()  # pooling may leave out the last rows and columns
    owner = (number[used] / share[used]).round().long() - 1
    inside = bool(((owner >= 0) & (owner < len(tokens))).all()) if len(used) else False
    if not inside or not torch.allclose(checked[used] / share[used], check[owner]):
        raise AdapterError(
            f"{where} merges {count} patches into {len(tokens)} tokens that share patches, as interpolation does; a "
            f"token's signals would be undefined. See docs/write-an-adapter.md"
        )
    sizes = owner.bincount(minlength=len(tokens))
    if bool((sizes != sizes[0]).any()):
        raise AdapterError(
            f"{where} merges {count} patches into {len(tokens)} tokens of {int(sizes.min())} to {int(sizes.max())} "
            f"patches; tokens must be of equally many. If its result is not (1, ..., values of one token), override "
            f"`merge`. See docs/write-an-adapter.md"
        )
    return Patches(used[owner.argsort(stable=True)].view(len(tokens), -1), grid)


class Shuffled(ProjectedTower[S]):
    """A tower whose patches are merged before or in the projector; the prompt tells which tiles make an image."""

    spec: Any
    knows_canvas = False

    def check(self, model: Any) -> Declaration:
        """The declaration; tokens are merged after the projector, since a CLS token is not merged of patches."""
        return replace(super().check(model), merges=frozenset({"projected"}))

    def patches(self, base: Any, grid: tuple[int, int]) -> Patches:
        """The patches of each token, learnt from `merge`.

        Args:
            base: The model without its language modelling head.
            grid: (rows, columns) of patches of one tile.

        Raises:
            AdapterError: tokens overlap, or depend on unequal numbers of patches.
        """
        return learnt(lambda values: self.merge(base, values, grid), grid, f"{type(base).__name__}.{self.merging}")

    def merge(self, base: Any, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """The model's own merging of the patches of one tile: by default, that of the module or method at `merging`.

        Args:
            base: The model without its language modelling head.
            values: (1, n, 1) float64: one value for each patch, row by row.
            grid: (rows, columns) of patches, n in all.

        Returns:
            (1, ..., C): what each token is made of, along the last axis.
        """
        merged: Tensor = resolve(base, self.merging, what=type(base).__name__)(values)
        return merged

    def tiles(self, model: Any, size: tuple[int, int]) -> int:
        """The number of tiles that the processor cuts an image of ``size`` (height, width) into; see `tiles_of`.

        Raises:
            AdapterError: the adapter does not say. Only plans for image sizes need it.
        """
        raise AdapterError(
            f"adapter '{self.spec.name}' does not say into how many tiles the processor of {type(model).__name__} cuts "
            f"an image, so image sizes are not enough for a plan; give numbers of tokens: pruner.plan([256, 256]). "
            f"Authors override `tiles`"
        )

    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout, by the processor's number of tiles under the options in the adapter's spec."""
        model = unwrap(model)
        tokens = len(self.patches(base_of(model), self._tower(model).grid()).index)
        return Layout.of([[tokens] * self.tiles(model, size) for size in sizes])

    def layout_of(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """The tiles of each image, as the prompt groups them."""
        return Layout(tuple(replace(one, prompt=row) for one, row in zip(encoded.geometry, prompts, strict=True)))

    def encode(self, model: Any, images: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded images, by one pass over all tiles; one group of tokens per image."""
        seen = self.seen(model, images, attachment)
        given, tokens, _ = seen.tokens.shape
        counts = self.dealt(ids, int(model.config.image_token_id), tokens, given)
        starts = [0, *accumulate(count * tokens for count in counts)]
        index = [torch.arange(start, stop) for start, stop in pairwise(starts)]
        padded = torch.nn.utils.rnn.pad_sequence(index, batch_first=True, padding_value=-1).to(seen.tokens.device)
        flat = torch.cat([rows.reshape(-1, rows.shape[-1]) for rows in seen.output.pooler_output])
        rows = [flat[start:stop] for start, stop in pairwise(starts)]
        by_image = numbered(seen.tokens, counts).regroup(padded)
        return Encoded(seen.output, rows, by_image, geometry=[ImageLayout((tokens,) * count) for count in counts])

    def signals_of(
        self, base: Any, capture: Capture, needs: frozenset[str], features: Tensor, grid: tuple[int, int]
    ) -> dict[str, Callable[[], Tensor]]:
        """The tower's signals by name, computed for tokens when they are read."""
        patches, on_patches = self.patches(base, grid), capture.signals(needs, grid[0] * grid[1])
        return {name: partial(patches.to_tokens, name, signal) for name, signal in on_patches.items()}

    def cells_of(self, base: Any, features: Tensor, grid: tuple[int, int], before: int) -> tuple[Tensor, Tensor]:
        """(B, N) rows and columns of the token grid."""
        cells = self.patches(base, grid).cells()
        if features.shape[1] != len(cells[0]):
            raise AttachError(
                f"{type(base).__name__} gives {features.shape[1]} tokens for a tile, and {len(cells[0])} were "
                f"expected: {grid[0]} x {grid[1]} patches, merged by '{self.merging}'. `given` (now '{self.given}') "
                f"must name the module that is given one row per token. See docs/write-an-adapter.md"
            )
        row, col = (cell.to(features.device).expand(features.shape[:2]) for cell in cells)
        return row, col

    def grouped(self, ids: Tensor, found: Sequence[tuple[int, int, int]]) -> list[int]:
        """The image, counted from 0, of each run ``(row, start, stop)`` of placeholders: one per run."""
        return list(range(len(found)))

    def dealt(self, ids: Tensor, placeholder: int, tokens: int, given: int) -> list[int]:
        """The number of tiles of each image, by the runs of placeholders in the prompts.

        Args:
            ids: (B, L) the prompts.
            placeholder: Id of image placeholders.
            tokens: Tokens of one tile.
            given: Tiles in the call.

        Raises:
            AttachError: a run is not a whole number of tiles, or the call has more or fewer tiles than the prompts.
        """
        found = runs(ids, placeholder)
        counts = [0] * len(found)
        for number, (row, start, stop) in zip(self.grouped(ids, found), found, strict=True):
            if (stop - start) % tokens:
                raise AttachError(
                    f"prompt {row} has {stop - start} image placeholders (id {placeholder}) from position {start} on, "
                    f"not a whole number of tiles of {tokens} tokens; was the prompt cut, or processed for another "
                    f"model?"
                )
            counts[number] += (stop - start) // tokens
        if sum(counts) != given:
            raise AttachError(
                f"{given} tiles were given, but the prompts have placeholders (id {placeholder}) for {sum(counts)}, at "
                f"{tokens} tokens each"
            )
        return [count for count in counts if count]

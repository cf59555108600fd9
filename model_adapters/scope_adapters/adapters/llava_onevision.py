"""LLaVA-OneVision on Hugging Face: SigLIP tiles, shrunk by interpolation where an image has very many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from scope_adapters.adapters.anyres import AnyRes, Packing
from scope_core import ComponentSpec, Declaration, parse_signal

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Attachment, VisualTokens


class LlavaOnevisionSpec(ComponentSpec):
    """LLaVA-OneVision as the model itself lays images out. Images only; calls with videos are refused.

    Plans for image sizes take every image as the only one of its prompt. Images that share a prompt are one
    tile and a newline each, whatever their size.
    """

    name: Literal["llava_onevision"] = "llava_onevision"
    newlines: Literal["keep", "drop", "keep_if_row_kept"] = "keep"
    """What becomes of newline tokens; they are no candidates and count against no budget."""


class LlavaOnevision(AnyRes):
    """Tower without CLS. Tokens of interpolated images mix up to four patches: no token is any one patch's.

    Features and signals of such tokens come from the model's own packing, run on features and signals.
    """

    spec: Any  # LlavaOnevisionSpec
    image_inputs = (*AnyRes.image_inputs, "vision_aspect_ratio", "batch_num_images")

    model_type = "llava_onevision"
    geometry = "one token per unpadded patch, interpolated beyond a number of tiles; newline tokens at row ends"
    packing = ("vision_aspect_ratio",)

    def check(self, model: Any) -> Declaration:
        """Tokens are merged after the projector only: interpolation comes between it and them."""
        return replace(super().check(model), merges=frozenset({"projected"}))

    def project(self, model: Any, attachment: Attachment) -> None:
        """None."""

    @property
    def newlines(self) -> str:
        """The spec's."""
        return str(self.spec.newlines)

    def tokens(
        self, base: Any, tiles: VisualTokens, packings: Sequence[Packing], images: Mapping[str, Any]
    ) -> VisualTokens:
        """By patch where every row is one; by packing all that tokens carry where some rows mix patches."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        from scope_core import VisualTokens

        if not any(packing.mixed for packing in packings):
            return super().tokens(base, tiles, packings, images)
        counts = [packing.patches // tiles.shape[1] for packing in packings]

        def packed(tensor: Tensor) -> Tensor:
            flat = tensor.reshape(*tensor.shape[:2], -1)
            rows = self.packed(base, torch.split(flat, counts), images, flat.new_zeros(flat.shape[-1]))
            each = [row[packing.places.to(row.device)] for row, packing in zip(rows, packings, strict=True)]
            joined = pad_sequence(each, True)
            return joined.view(*joined.shape[:2], *tensor.shape[2:])

        def signal(name: str, tensor: Tensor) -> Tensor:
            axis = 1 if parse_signal(name)[0] in ("vision.hidden", "projected") else 2
            return packed(tensor.movedim(axis, 1)).movedim(1, axis)

        def plane(of_each: Sequence[Tensor]) -> Tensor:
            return pad_sequence(list(of_each), True, -1).to(tiles.device)

        cells = [_cells(packing, tiles) for packing in packings]
        tile = plane([torch.arange(len(p.tiles)).repeat_interleave(torch.tensor(p.tiles)) for p in packings])
        return VisualTokens.of(
            packed(tiles.features),
            valid=tile >= 0,
            row=plane([row for row, _ in cells]),
            col=plane([col for _, col in cells]),
            tile=tile,
            signals=tiles.signals.map(signal),
        )


def _cells(packing: Packing, tiles: VisualTokens) -> tuple[Tensor, Tensor]:
    """(N,) rows and columns: of the patch in its tile, or of the token in the interpolated picture."""
    import torch

    row, col = tiles.row[0].cpu(), tiles.col[0].cpu()
    if not packing.mixed:
        return row[packing.source % len(row)], col[packing.source % len(row)]
    beyond = packing.places[len(row) :]
    line = packing.newline.cumsum(0)[beyond]
    first = torch.cat([beyond[:1], beyond[1:][line.diff() > 0]])
    return torch.cat([row, line]), torch.cat([col, beyond - first[line]])

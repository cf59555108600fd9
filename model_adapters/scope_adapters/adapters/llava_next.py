"""LLaVA-NeXT (LLaVA-1.6) on Hugging Face: several tiles per image, unpadded, with newline tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
from pydantic import model_validator
from torch import Tensor

from scope_adapters.adapters.anyres import AnyRes, own_function
from scope_adapters.adapters.packing import Packing
from scope_adapters.adapters.projected import Seen
from scope_core.adapters import Declaration
from scope_core.parts import ComponentSpec


class LlavaNextSpec(ComponentSpec):
    """LLaVA-NeXT, in the model's own layout or in that of published tables.

    ``faithful``: unpadded, a newline token at the end of every row of the tiles. ``paper2880``: with padding and
    without newlines, so that five tiles of 576 patches are 2880 rows: the overview tile, then the image put together
    from the other tiles, row by row. The prompt keeps the placeholders of the faithful layout; kept tokens take the
    first of them.
    """

    name: Literal["llava_next"] = "llava_next"
    layout: Literal["faithful", "paper2880"] = "faithful"
    """The rows that an unpruned language model would read."""
    newlines: Literal["keep", "drop", "keep_if_row_kept"] = "keep"
    """The treatment of the faithful layout's newline tokens, which are not candidates and not counted in the budget."""
    padding: Literal["excluded", "competes"] = "excluded"
    """The treatment of patches of the padded border: never kept, or candidates like others. Published code lets them
    compete, so only `layout: paper2880` with `padding: competes` reproduces the numbers in papers."""

    @model_validator(mode="after")
    def _no_contradiction(self) -> LlavaNextSpec:
        if self.layout == "faithful" and self.padding == "competes":
            raise ValueError(
                "padding 'competes' needs layout 'paper2880': the faithful layout cuts padding patches away"
            )
        if self.layout == "paper2880" and self.newlines == "keep_if_row_kept":
            raise ValueError("newlines 'keep_if_row_kept' needs layout 'faithful': 'paper2880' has no newline tokens")
        return self


S = TypeVar("S", bound=LlavaNextSpec)


class NextTiles(AnyRes[S]):
    """CLIP-like tower; every image has an overview tile and at least one more."""

    geometry = "one token per unpadded patch, newline tokens at row ends; or every patch of every tile"
    functions = (*AnyRes.functions, "get_anyres_image_grid_shape")
    packing = ("vision_feature_select_strategy",)

    @property
    def newlines(self) -> str:
        """The spec's option."""
        return str(self.spec.newlines)

    @property
    def has_newlines(self) -> bool:
        """True for the faithful layout."""
        return bool(self.spec.layout == "faithful")

    def check(self, model: Any) -> Declaration:
        """The declaration; without the decoder where some tokens do not reach it."""
        declaration = super().check(model)
        if self.spec.padding != "competes":
            return declaration
        why = "with `padding: competes` images have more tokens than the prompt has placeholders, so not all reach it"
        offers = tuple(offer for offer in declaration.offers if not offer.family.startswith("decoder."))
        return replace(declaration, decoder_layers=0, offers=offers, reasons={**declaration.reasons, "decoder": why})

    def packings(
        self, base: Any, counts: Sequence[int], patches: int, images: Mapping[str, Any], *, newline: bool = True
    ) -> list[Packing]:
        """The packing of each image; for ``paper2880`` without unpadding and newlines.

        Patches that the model's own packing leaves out are padding.
        """
        packings = super().packings(base, counts, patches, images, newline=newline)
        if self.spec.layout == "faithful":
            return packings
        whole = super().packings(base, counts, patches, self._whole(base, images), newline=False)
        if self.spec.padding == "competes":
            return whole
        return [full.among(packing.source) for full, packing in zip(whole, packings, strict=True)]

    def canvases(
        self, base: Any, packings: Sequence[Packing], counts: Sequence[int], patches: int, images: Mapping[str, Any]
    ) -> list[Tensor]:
        """(N_i, 4) per image; patches of the border lie before the first or behind the last row or column."""
        if self.spec.layout == "faithful":
            return super().canvases(base, packings, counts, patches, images)
        found = []
        unpadded = super().packings(base, counts, patches, images)
        padded = super().packings(base, counts, patches, self._whole(base, images))
        for packing, own, whole in zip(packings, unpadded, padded, strict=True):
            inner, canvas = own.canvas(), torch.zeros(whole.patches, 4)
            canvas[whole.source] = whole.canvas()
            tiled = canvas[:, 2] > 0
            first = int((inner[:, 2] > 0).int().argmax())
            canvas[tiled, :2] -= canvas[own.source[first], :2] - inner[first, :2]
            canvas[tiled, 2:] = inner[first, 2:]
            found.append(canvas[packing.source])
        return found

    def rows(
        self, base: Any, seen: Seen, counts: Sequence[int], images: Mapping[str, Any]
    ) -> tuple[list[Tensor], list[int] | None]:
        """(R_i, D) per image; for ``paper2880`` all patches, packed by the model as if none were padding."""
        rows, placeholders = super().rows(base, seen, counts, images)
        if self.spec.layout == "faithful":
            return rows, placeholders
        tiles = torch.split(seen.projected, list(counts))
        return self.packed(base, tiles, self._whole(base, images), None), [len(row) for row in rows]

    def _whole(self, base: Any, images: Mapping[str, Any]) -> dict[str, Any]:
        """The call, with sizes of images that fill their tiles exactly, so that nothing is unpadded."""
        config, side = base.config, base.config.vision_config.image_size
        cut = own_function(base, self.functions[-1])
        grids = [cut(size, config.image_grid_pinpoints, side) for size in images["image_sizes"]]
        return {**images, "image_sizes": torch.tensor(grids) * side}


class LlavaNext(NextTiles[LlavaNextSpec]):
    """LLaVA-NeXT (1.6)."""

    model_type = "llava_next"

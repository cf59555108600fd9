"""Another saliency source without what it gives to a place whatever the image shows."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field, field_validator
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores
from scope_plugins._places import check_places

Row = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class DebiasedSpec(ComponentSpec):
    """A source divided by its prior: its mean over many images at each place of the grid."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prior": [[1.0, 2.0], [3.0, 4.0]]}]})

    name: Literal["debiased"] = "debiased"
    of: Annotated[ComponentSpec, Slot("saliency")]
    """The source."""
    prior: Annotated[tuple[Row, ...], Field(min_length=1)]
    """Rows of the mean score at each place of a tile, above 0; a grid of another size is interpolated."""

    @field_validator("prior")
    @classmethod
    def _rectangle(cls, prior: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        lengths = sorted({len(row) for row in prior})
        if len(lengths) > 1:
            raise ValueError(f"rows of the prior must have one length; got {lengths[0]} and {lengths[-1]}")
        return prior


class Debiased(SaliencySource[DebiasedSpec]):
    """Tokens that are more salient than their place is on average.

    Use it where attention favours places rather than content, as attention inside language models favours the end of
    the image, or a tower's sinks lie in the corners.

    ``a_j / p_j``: ``p`` is the prior, interpolated bilinearly between the centres of its cells. To make a prior, take
    the mean of the source over images that you will not test on. Source: D2Pruner, AAAI 2026, arXiv 2512.19443.
    """

    reads_places = True

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # follows from the source
        """True if the source's scores are."""
        return bool(self.parts["of"].nonnegative)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N).

        Raises:
            TokensError: a valid token has no place in a grid.
        """
        check_places(self, tokens, "the source by itself")
        given = scores(self.parts["of"], tokens)
        prior = torch.tensor(self.spec.prior, dtype=torch.float64, device=given.device)
        result = given.clone()
        for group, valid in enumerate(tokens.valid):
            index = valid.nonzero().flatten()
            keys = torch.stack([tokens.image[group, index], tokens.tile[group, index]], 1)
            for key in torch.unique(keys, dim=0):
                cells = index[(keys == key).all(1)]
                row, col = tokens.row[group, cells], tokens.col[group, cells]
                shape = (int(row.max()) + 1, int(col.max()) + 1)
                here = torch.nn.functional.interpolate(prior[None, None], shape, mode="bilinear")[0, 0, row, col]
                result[group, cells] = (given[group, cells].double() / here).to(given.dtype)
        return result

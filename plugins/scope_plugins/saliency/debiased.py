"""Another saliency source without what it gives to a place whatever the image shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, field_validator, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import TokensError, VisualTokens
from scope_core.parts import Calibration, ComponentSpec, SaliencySource, Slot, scores
from scope_plugins._places import check_places

Row = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class DebiasedSpec(ComponentSpec):
    """A source divided by its prior: its mean over many images at each place of the grid."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prior": [[1.0, 2.0], [3.0, 4.0]]}]})

    name: Literal["debiased"] = "debiased"
    of: Annotated[ComponentSpec, Slot("saliency")]
    """The source."""
    prior: Annotated[tuple[Row, ...], Field(min_length=1)] | None = None
    """Rows of the mean score at each place of a tile, above 0; a grid of another size is interpolated."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """The prior as a file of ``scope calibrate``, instead of ``prior``. A relative path starts at the current folder;
    a file of another source, tower or grid is refused."""

    @field_validator("prior")
    @classmethod
    def _rectangle(cls, prior: tuple[tuple[float, ...], ...] | None) -> tuple[tuple[float, ...], ...] | None:
        lengths = sorted({len(row) for row in prior or ()})
        if len(lengths) > 1:
            raise ValueError(f"rows of the prior must have one length; got {lengths[0]} and {lengths[-1]}")
        return prior

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.prior is None) == (self.file is None):
            given = "neither" if self.prior is None else "both"
            raise ValueError(f"give `prior` or `file`; {given} of them was given; `scope calibrate` makes a file")
        return self


class Debiased(SaliencySource[DebiasedSpec]):
    """Tokens that are more salient than their place is on average.

    Use it where attention favours places rather than content, as attention inside language models favours the end of
    the image, or a tower's sinks lie in the corners.

    ``a_j / p_j``: ``p`` is the prior, interpolated bilinearly between the centres of its cells. ``scope calibrate``
    makes a file of one: the mean of the source over images, which should not be those that you test on.
    Source: D2Pruner, AAAI 2026, arXiv 2512.19443.
    """

    reads_places = True

    def __init__(self, spec: DebiasedSpec, parts: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, parts)
        if spec.file is not None:
            self.calibration = Calibration.read(spec.file, "prior")
            self.calibration.check_saliency(spec.of.model_dump(mode="json"), f"calibration file '{spec.file}'")

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # follows from the source
        """True if the source's scores are."""
        return bool(self.parts["of"].nonnegative)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N).

        Raises:
            TokensError: a valid token has no place in a grid, or the file is of another grid.
        """
        check_places(self, tokens, "the source by itself")
        given = scores(self.parts["of"], tokens)
        rows = self.spec.prior if self.calibration is None else self.calibration.values
        prior = torch.tensor(rows, dtype=torch.float64, device=given.device)
        result = given.clone()
        for group, valid in enumerate(tokens.valid):
            index = valid.nonzero().flatten()
            keys = torch.stack([tokens.image[group, index], tokens.tile[group, index]], 1)
            for key in torch.unique(keys, dim=0):
                cells = index[(keys == key).all(1)]
                row, col = tokens.row[group, cells], tokens.col[group, cells]
                shape = (int(row.max()) + 1, int(col.max()) + 1)
                if self.calibration is not None and shape != tuple(prior.shape):
                    raise TokensError(
                        f"calibration file '{self.spec.file}' has a prior of {prior.shape[0]} x {prior.shape[1]} "
                        f"places (measured on '{self.calibration.model}'), but {tokens.name_of(group)} has "
                        f"{shape[0]} x {shape[1]}; measure this grid with `scope calibrate`, or give the rows as "
                        f"`prior`, which is interpolated"
                    )
                here = torch.nn.functional.interpolate(prior[None, None], shape, mode="bilinear")[0, 0, row, col]
                result[group, cells] = (given[group, cells].double() / here).to(given.dtype)
        return result

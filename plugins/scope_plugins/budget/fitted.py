"""A number of tokens averaged over the language model's layers, by what each layer overlooks on a sample of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from scope_core import BudgetError, Layout, SpecError
from scope_core.adapters import Declaration
from scope_core.parts import Budget, Calibration, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in
from scope_plugins.budget._layers import largest_factor, layer_lengths, stage_layers

Share = Annotated[float, Field(ge=0, le=1)]
Row = Annotated[tuple[Share, ...], Field(min_length=2)]


class FittedSpec(ComponentSpec):
    """Each stage keeps the share that the layers before it need, at the threshold that meets a given average."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keep": 64, "layers": 32}]})

    shorthand = (int, "keep")

    name: Literal["fitted"] = "fitted"
    keep: Annotated[int, Field(gt=0)]
    """Tokens of an image, averaged over all layers; the threshold follows from it."""
    layers: Annotated[int, Field(gt=0)]
    """Number of layers of the language model."""
    shares: Annotated[tuple[Row, ...], Field(min_length=1)] = ((1.0, 0.0),)
    """For each layer, from layer 0, the shares that it leaves at thresholds from 0 to 1, evenly spaced; or one row for
    all of them."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """A file of ``scope calibrate --kind layers``, which takes the place of ``shares``. A relative path starts at the
    current folder; a file of another model, or of another number of layers, is refused."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for number, row in enumerate(self.shares):
            if list(row) != sorted(row, reverse=True):
                raise ValueError(f"shares of layer {number} grow with the threshold: {list(row)}")
            if number and (len(row) != len(self.shares[0]) or any(map(_above, row, self.shares[number - 1]))):
                raise ValueError(f"shares of layer {number} have another length, or exceed those of the layer before")
        return self


class Fitted(Budget[FittedSpec]):
    """Few tokens behind layers that look at few, more where a layer still reads much of the image.

    Use it with a stage before every layer, or before several, and a file of your model: on a sample of images,
    ``scope calibrate`` measures which share of the tokens each layer may lose at a threshold of attention. All stages
    must have this budget.

    A stage before layer l keeps ``max(floor(N share_(l-1)(t)), 1)`` tokens, one before the language model as many as
    one before layer 1; t is the lowest threshold, the same for all layers, whose average is at most ``keep``. Shares
    between thresholds are interpolated. A layer counts with the tokens that pass through it, N before the first stage.
    Source: FitPrune, AAAI 2025, arXiv 2409.10197.
    """

    def __init__(self, spec: FittedSpec, parts: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, parts)
        if spec.file is not None:
            self.calibration = Calibration.read(spec.file, "layers")
            if len(self.calibration.values) != spec.layers - 1:
                raise SpecError(
                    f"calibration file '{spec.file}' is of '{self.calibration.model}', a language model of "
                    f"{len(self.calibration.values) + 1} layers, but this budget has `layers: {spec.layers}`; set "
                    f"`layers` and the stages for your model, and measure it with `scope calibrate --kind layers`"
                )

    def misfit(self, declaration: Declaration) -> str:
        """The reason why the file is not of this model."""
        if self.calibration is None:
            return ""
        found = declaration.decoder_layers
        if found and found != self.spec.layers:
            return f"'{self.spec.file}' is of a language model of {self.spec.layers} layers, but this one has {found}"
        return super().misfit(declaration)

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: a stage lies behind the last layer, these stages cannot average so few tokens, or an earlier
                stage had another budget.
        """
        rows = self.spec.shares if self.calibration is None else self.calibration.values
        layers = self.spec.layers
        lengths, starts = layer_lengths(layout, layers, self.spec.name), stage_layers(layout)
        if len(rows) not in (1, layers - 1, layers):
            raise BudgetError(
                f"budget 'fitted' has shares of {len(rows)} layers for `layers: {layers}`; give {layers - 1}, from "
                f"layer 0, or one row for all"
            )
        mine = [rows[min(max(layer - 1, 0), len(rows) - 1)] for layer in starts]
        counts = []
        for number in images_in(groups):
            image = layout.images[number]

            def behind(factor: float, full: int = image.original) -> list[int]:
                return [max(int(full * _between(row, 1 - factor) + 1e-9), 1) for row in mine]

            item = layout.name_of(number)
            found = largest_factor(image.original, lengths, self.spec.keep, behind, layout, self.spec.name, item)
            before = [image.original, *found][layout.stage]
            if image.tokens != before:
                raise BudgetError(
                    f"{item} has {image.tokens} tokens before stage {layout.stage}, but "
                    f"budget 'fitted' planned {before}; give this budget to every stage, or set counts with `staged`"
                )
            counts.append(found[layout.stage])
        return fill(layout, groups, "image", counts)


def _between(row: Sequence[float], threshold: float) -> float:
    """The share at a threshold of 0 to 1, linear between the ends of the steps; 0 at 1."""
    if threshold >= 1:
        return 0.0
    at = threshold * (len(row) - 1)
    low = int(at)
    return row[low] + (at - low) * (row[low + 1] - row[low])


def _above(share: float, before: float) -> bool:
    return share > before + 1e-12

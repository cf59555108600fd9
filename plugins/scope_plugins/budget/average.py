"""A number of tokens averaged over the language model's layers; each stage keeps the same share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in
from scope_plugins.budget._layers import largest_factor, layer_lengths


class AverageSpec(ComponentSpec):
    """Each stage keeps the same share of the tokens that the stage before it kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"decay": 0.5, "layers": 8}]})

    shorthand = (int, "keep")

    name: Literal["average"] = "average"
    keep: Annotated[int, Field(gt=0)] | None = None
    """Tokens of an image, averaged over all layers; each stage's share follows from it."""
    decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of tokens that each stage keeps; ignored if ``keep`` is given."""
    layers: Annotated[int, Field(gt=0)]
    """Number of layers of the language model."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.keep is None and self.decay is None:
            raise ValueError("give `keep` (tokens averaged over all layers) or `decay` (the share each stage keeps)")
        return self


class Average(Budget[AverageSpec]):
    """The same share of tokens at every stage, for a given average over the layers of the language model.

    Use it to compare schedules of several stages at the same cost. All stages must have this budget.

    Stage s, counted from 0, keeps ``floor(N d^(s+1) + 1/2)`` tokens. With ``keep`` it keeps ``max(floor(N d^(s+1)),
    1)``, where d is the largest share whose average is at most ``keep``; a layer counts with the tokens that pass
    through it, N before the first stage. Source: PyramidDrop, arXiv 2410.17247 (one factor lambda for all stages).
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: these stages cannot average so few tokens, or an earlier stage had another budget.
        """
        lengths = layer_lengths(layout, self.spec.layers, self.spec.name)
        counts = []
        for number in images_in(groups):
            image = layout.images[number]
            behind = [image.original, *self._counts(image.original, lengths, layout, number)]
            if image.tokens != behind[layout.stage]:
                raise BudgetError(
                    f"{layout.name_of(number)} has {image.tokens} tokens before stage {layout.stage}, but "
                    f"budget 'average' planned {behind[layout.stage]}; give this budget to every stage, or set the "
                    f"counts with `staged`"
                )
            counts.append(behind[layout.stage + 1])
        return fill(layout, groups, "image", counts)

    def _counts(self, full: int, lengths: Sequence[int], layout: Layout, number: int) -> list[int]:
        """The tokens after each stage."""
        stages = range(1, len(lengths))
        if self.spec.keep is None:
            decay = self.spec.decay or 1.0
            return [int(full * decay**stage + 0.5) for stage in stages]

        def behind(decay: float) -> list[int]:
            return [max(int(full * decay**stage + 1e-9), 1) for stage in stages]

        return largest_factor(full, lengths, self.spec.keep, behind, layout, self.spec.name, layout.name_of(number))

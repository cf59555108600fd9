"""A number or a share of tokens for every stage."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in


class StagedSpec(ComponentSpec):
    """What is left of each image behind each stage: ``keep`` in tokens, or ``ratios`` of the whole image."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ratios": [0.5]}, {"keep": [1]}]})

    name: Literal["staged"] = "staged"
    keep: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Tokens of an image behind each stage."""
    ratios: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Share of the image's tokens, as it had them before the first stage, behind each stage."""
    rounding: Literal["nearest", "floor"] = "nearest"
    """How shares become whole numbers; halves go up."""

    @model_validator(mode="after")
    def _one_of_them_and_falling(self) -> Self:
        if bool(self.keep) == bool(self.ratios):
            raise ValueError("give either `keep` or `ratios`, with one number for each stage")
        given = list(self.keep or self.ratios)
        if given != sorted(given, reverse=True):
            raise ValueError(f"{given} grows; a stage can only keep what the one before it left")
        return self


class Staged(Budget[StagedSpec]):
    """``keep[s]``, or ``floor(ratios[s] * N + 1/2)`` (``floor(ratios[s] * N)``), N being the whole image's tokens.

    Source: PyramidDrop, arXiv 2410.17247, section 3.2 (ratios); SparseVLM's release (counts).
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: there is not one number for each stage, or more is to be kept than the stage before left.
        """
        given = self.spec.keep or self.spec.ratios
        stages = len(layout.schedule) or layout.stage + 1
        if len(given) != stages:
            raise BudgetError(
                f"budget 'staged' has {len(given)} numbers, {list(given)}, and there are {stages} stages"
                f"{': ' + ' -> '.join(layout.schedule) if layout.schedule else ''}; give one for each"
            )
        counts = []
        for number in images_in(groups):
            image = layout.images[number]
            count = self._count(image.original, layout.stage)
            if count > image.tokens:
                raise BudgetError(
                    f"budget 'staged' keeps {count} tokens of image {number} behind stage {layout.stage} of {stages}, "
                    f"and {image.tokens} are there; lower `{'keep' if self.spec.keep else 'ratios'}`"
                )
            counts.append(count)
        return fill(layout, groups, "image", counts)

    def _count(self, full: int, stage: int) -> int:
        if self.spec.keep:
            return self.spec.keep[stage]
        exact = Fraction(str(self.spec.ratios[stage])) * full
        return int(exact if self.spec.rounding == "floor" else exact + Fraction(1, 2))

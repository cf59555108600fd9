"""One number or share of tokens for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins._fractions import fraction
from scope_plugins.budget._images import images_in


class StagedSpec(ComponentSpec):
    """The tokens that remain of each image after each stage: ``keep`` in tokens, or ``ratios`` of the whole image."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ratios": [0.5]}, {"keep": [1]}]})

    name: Literal["staged"] = "staged"
    keep: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Tokens of an image after each stage."""
    ratios: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Share of an image's tokens after each stage, relative to its tokens before the first stage."""
    rounding: Literal["nearest", "floor"] = "nearest"
    """Rounding of shares to whole numbers; ``nearest`` rounds halves up."""

    @model_validator(mode="after")
    def _one_of_them_and_falling(self) -> Self:
        if bool(self.keep) == bool(self.ratios):
            raise ValueError("give either `keep` or `ratios`, with one number for each stage")
        given = list(self.keep or self.ratios)
        if given != sorted(given, reverse=True):
            raise ValueError(f"{given} grows; a stage can only keep tokens that the stage before it kept")
        return self


class Staged(Budget[StagedSpec]):
    """A number or a share of tokens stated for every stage.

    Use it where tokens are dropped in several stages and you know what each should keep.

    Stage s keeps ``keep[s]`` tokens, or ``floor(ratios[s] * N + 1/2)`` (with ``floor``: ``floor(ratios[s] * N)``),
    where N is the number of tokens of the whole image.
    Source: PyramidDrop, arXiv 2410.17247, section 3.2 (ratios); SparseVLM's release (counts).
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: there is not one number for each stage, or a stage keeps more than the stage before it left.
        """
        given = self.spec.keep or self.spec.ratios
        stages = len(layout.schedule) or layout.stage + 1
        if len(given) != stages:
            raise BudgetError(
                f"budget 'staged' has {len(given)} numbers, {list(given)}, but there are {stages} stages"
                f"{': ' + ' -> '.join(layout.schedule) if layout.schedule else ''}; give one number for each"
            )
        counts = []
        for number in images_in(groups):
            image = layout.images[number]
            count = self._count(image.original, layout.stage)
            if count > image.tokens:
                raise BudgetError(
                    f"budget 'staged' keeps {count} tokens of {layout.name_of(number)} after stage "
                    f"{layout.stage} of {stages}, but it has only {image.tokens}; lower "
                    f"`{'keep' if self.spec.keep else 'ratios'}`"
                )
            counts.append(count)
        return fill(layout, groups, "image", counts)

    def _count(self, full: int, stage: int) -> int:
        if self.spec.keep:
            return self.spec.keep[stage]
        exact = fraction(self.spec.ratios[stage]) * full
        return int(exact if self.spec.rounding == "floor" else exact + Fraction(1, 2))

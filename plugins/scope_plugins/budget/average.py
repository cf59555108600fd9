"""A number of tokens averaged over the language model's layers; each stage keeps the same share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in


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
        lengths = self._lengths(layout)
        counts = []
        for number in images_in(groups):
            image = layout.images[number]
            behind = [image.original, *self._counts(image.original, lengths, layout, number)]
            if image.tokens != behind[layout.stage]:
                raise BudgetError(
                    f"image {number} has {image.tokens} tokens before stage {layout.stage}, but budget 'average' "
                    f"planned {behind[layout.stage]}; give this budget to every stage, or set the counts with `staged`"
                )
            counts.append(behind[layout.stage + 1])
        return fill(layout, groups, "image", counts)

    def _lengths(self, layout: Layout) -> list[int]:
        """The number of layers before the first stage, and after each stage."""
        layers = self.spec.layers
        points = layout.schedule or ("vision",) * (layout.stage + 1)
        found = [re.fullmatch(r"decoder\[(\d+)\]", point) for point in points]
        starts = [int(match[1]) if match else 0 for match in found]
        if starts[-1] >= layers:
            raise BudgetError(
                f"budget 'average' has `layers: {layers}`, but a stage is at '{points[-1]}'; set `layers` to the "
                f"number of layers of the language model"
            )
        return [end - start for start, end in zip([0, *starts], [*starts, layers], strict=True)]

    def _counts(self, full: int, lengths: Sequence[int], layout: Layout, number: int) -> list[int]:
        """The tokens after each stage."""
        stages = range(1, len(lengths))
        if self.spec.keep is None:
            decay = self.spec.decay or 1.0
            return [int(full * decay**stage + 0.5) for stage in stages]
        total, least = self.spec.keep * sum(lengths), full * lengths[0] + sum(lengths[1:])
        if self.spec.keep > full:
            raise BudgetError(
                f"budget 'average' keeps {self.spec.keep} tokens, but image {number} has {full}; lower `keep`"
            )
        if total < least:
            raise BudgetError(
                f"budget 'average' cannot keep {self.spec.keep} tokens of image {number} averaged over {sum(lengths)} "
                f"layers: all {full} pass the {lengths[0]} before '{(layout.schedule or ('',))[0]}', so the smallest "
                f"average is {-(-least // sum(lengths))}, with 1 token after every stage; raise `keep`, or prune "
                f"earlier"
            )

        def behind(decay: float) -> list[int]:
            return [max(int(full * decay**stage + 1e-9), 1) for stage in stages]

        low, high = 0.0, 1.0
        if _total(full, behind(high), lengths) <= total:
            return behind(high)
        for _ in range(64):
            middle = (low + high) / 2
            low, high = (middle, high) if _total(full, behind(middle), lengths) <= total else (low, middle)
        return behind(low)


def _total(full: int, behind: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(count * layers for count, layers in zip([full, *behind], lengths, strict=True))

"""A number of tokens averaged over the language model's layers, which fall along a logistic curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in
from scope_plugins.budget._layers import largest_factor, layer_lengths, stage_layers


class LogisticSpec(ComponentSpec):
    """Each stage keeps the share that a logistic curve has at its layer, for a given average."""

    shorthand = (int, "keep")

    name: Literal["logistic"] = "logistic"
    keep: Annotated[int, Field(gt=0)]
    """Tokens of an image, averaged over all layers; the height of the curve follows from it."""
    layers: Annotated[int, Field(gt=0)]
    """Number of layers of the language model."""
    slope: Annotated[float, Field(ge=0)] = 0.4
    """Steepness of the curve: 0 for the same share at every stage, larger for a sharper fall around ``centre``."""
    centre: float = 14.9
    """The layer around which the curve falls."""


class Logistic(Budget[LogisticSpec]):
    """Many tokens in early layers, few in late ones, with a smooth fall between them.

    Use it with a stage before every layer, or before several: early layers look around, late ones at what they found.
    All stages must have this budget.

    A stage before layer l keeps ``max(floor(N min(1, c / (1 + exp(slope (l - centre))))), 1)`` tokens; c is the largest
    factor whose average is at most ``keep``. A layer counts with the tokens that pass through it, N before the first
    stage. Source: AutoPrune, NeurIPS 2025, arXiv 2509.23931, where the slope follows from the prompt.
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: these stages cannot average so few tokens, or an earlier stage had another budget.
        """
        lengths = layer_lengths(layout, self.spec.layers, self.spec.name)
        curve = [self._height(layer) for layer in stage_layers(layout)]
        counts = []
        for number in images_in(groups):
            image = layout.images[number]

            def behind(share: float, full: int = image.original) -> list[int]:
                # from 1 / full to the factor that keeps all, evenly in its logarithm: the curve may fall by e^500;
                # bisection stops just below a factor that gives whole numbers
                factor = math.exp(share * math.log(full / min(curve))) / full * (1 + 1e-9)
                return [max(int(full * min(1.0, factor * height)), 1) for height in curve]

            name, keep = self.spec.name, self.spec.keep
            found = largest_factor(image.original, lengths, keep, behind, layout, name, number)
            before = [image.original, *found][layout.stage]
            if image.tokens != before:
                raise BudgetError(
                    f"image {number} has {image.tokens} tokens before stage {layout.stage}, but budget 'logistic' "
                    f"planned {before}; give this budget to every stage, or set the counts with `staged`"
                )
            counts.append(found[layout.stage])
        return fill(layout, groups, "image", counts)

    def _height(self, layer: int) -> float:
        """The curve at a layer, above 0."""
        power = min(self.spec.slope * (layer - self.spec.centre), 500.0)  # math.exp ends at 709
        return 1 / (1 + math.exp(power))

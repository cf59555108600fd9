"""A number of tokens averaged over the language model's layers, which fall along a logistic curve."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from scope_core import BudgetError, Layout, Plan, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Group, ImageLayout, Slot, fill, measured
from scope_plugins.budget._images import images_in
from scope_plugins.budget._layers import largest_factor, layer_lengths, stage_layers

STEPS = 20
"""Slopes between 0 and the steepest."""


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
    statistic: Annotated[ComponentSpec | None, Slot("statistic", optional=True)] = None
    """A statistic of each image by which the curve is less steep, the same at all stages; null: as ``slope`` says."""
    fall: Annotated[float, Field(ge=0)] = 0.2
    """The slope lost for each unit of the statistic, down to 0; the centre moves by as much."""


class Logistic(Budget[LogisticSpec]):
    """Many tokens in early layers, few in late ones, with a smooth fall between them.

    Use it with a stage before every layer, or before several: early layers look around, late ones at what they found.
    All stages must have this budget.

    With ``statistic`` x, the slope is ``max(slope - fall x, 0)``, to a twentieth of ``slope``, and the centre is lower
    by what it lost; plans then state the most tokens that any x leads to.

    A stage before layer l keeps ``max(floor(N min(1, c / (1 + exp(slope (l - centre))))), 1)`` tokens; c is the largest
    factor whose average is at most ``keep``. A layer counts with the tokens that pass through it, N before the first
    stage. Source: AutoPrune, NeurIPS 2025, arXiv 2509.23931.
    """

    @property
    def adaptive(self) -> bool:  # type: ignore[override]  # follows from the options
        """True with ``statistic``."""
        return self.spec.statistic is not None

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: these stages cannot average so few tokens, or an earlier stage had another budget.
        """
        counts = []
        for number in images_in(groups):
            image = layout.images[number]
            curves = [self._counts(layout, number, step) for step in self._steps()]
            found = [max(each) for each in zip(*curves, strict=True)]
            before = [image.original, *found][layout.stage]
            if image.tokens > before or (len(curves) == 1 and image.tokens < before):
                raise BudgetError(
                    f"{layout.name_of(number)} has {image.tokens} tokens before stage {layout.stage}, but "
                    f"budget 'logistic' planned {before}; give this budget to every stage, or set counts with `staged`"
                )
            counts.append(min(found[layout.stage], image.tokens))
        return fill(layout, groups, "image", counts)

    def refine_planned(self, counts: tuple[int, ...], tokens: VisualTokens, plan: Plan) -> tuple[int, ...]:
        """Counts by the slope that the statistic of each image leads to."""
        if self.spec.statistic is None:
            return counts
        layout, found = plan.layout, dict[int, int]()
        for group, value in zip(plan.groups, measured(self.parts["statistic"], tokens), strict=True):
            for number in images_in([group]):
                if number not in found:
                    curve = self._counts(layout, number, self._step(value))
                    found[number] = min(curve[layout.stage], layout.images[number].tokens)
        mine = fill(layout, plan.groups, "image", [found[number] for number in images_in(plan.groups)])
        required = (tokens.required & tokens.valid).sum(1).tolist()
        return tuple(min(most, max(count, must)) for most, count, must in zip(counts, mine, required, strict=True))

    def _steps(self) -> range:
        """The slopes that may occur, in twentieths of the steepest."""
        return range(STEPS, STEPS + 1) if self.spec.statistic is None or not self.spec.slope else range(STEPS + 1)

    def _step(self, value: float) -> int:
        """The slope for a value of the statistic, in twentieths of the steepest."""
        slope = max(self.spec.slope - self.spec.fall * max(value, 0.0), 0.0)
        return round(STEPS * slope / self.spec.slope) if self.spec.slope else STEPS

    def _counts(self, layout: Layout, number: int, step: int) -> tuple[int, ...]:
        """The counts of an image after each stage, by a slope in twentieths of the steepest."""
        slope = self.spec.slope * step / STEPS
        curve = Curve(self.spec.keep, self.spec.layers, slope, self.spec.centre - self.spec.slope + slope)
        image = ImageLayout((layout.images[number].original,))
        stage = 0 if layout.schedule else layout.stage
        return _counts(curve, Layout((image,), stage, layout.schedule), layout.name_of(number))


class Curve(NamedTuple):
    """One curve: tokens averaged over layers, layers, slope, and the layer around which it falls."""

    keep: int
    layers: int
    slope: float
    centre: float

    def height(self, layer: int) -> float:
        """The curve at a layer, above 0."""
        power = min(self.slope * (layer - self.centre), 500.0)  # math.exp ends at 709
        return 1 / (1 + math.exp(power))


@functools.lru_cache(maxsize=4096)  # every stage asks for all stages, of every slope
def _counts(curve: Curve, layout: Layout, item: str) -> tuple[int, ...]:
    """The counts after each stage of the one image in ``layout``; ``item`` is its name for messages.

    Raises:
        BudgetError: these stages cannot average so few tokens, or one lies behind the last layer.
    """
    heights = [curve.height(layer) for layer in stage_layers(layout)]
    full = layout.images[0].original

    def behind(share: float) -> list[int]:
        # from 1 / full to the factor that keeps all, evenly in its logarithm: the curve may fall by e^500;
        # bisection stops just below a factor that gives whole numbers
        factor = math.exp(share * math.log(full / min(heights))) / full * (1 + 1e-9)
        return [max(int(full * min(1.0, factor * height)), 1) for height in heights]

    lengths = layer_lengths(layout, curve.layers, "logistic")
    return tuple(largest_factor(full, lengths, curve.keep, behind, layout, "logistic", item))

"""As many tokens as a statistic of the image says, up to another budget."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from scope_core import Layout, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Group, Slot, fill, measured, units


class MeasuredSpec(ComponentSpec):
    """A budget that follows from a statistic of each group."""

    shorthand = (int, "keep")

    name: Literal["measured"] = "measured"
    statistic: Annotated[ComponentSpec, Slot("statistic")]
    """The statistic x."""
    of: Annotated[ComponentSpec | None, Slot("budget", optional=True)] = None
    """The budget that sets the most tokens of each group; null: ``keep``, or all of them."""
    keep: Annotated[int, Field(ge=0)] | None = None
    """The most tokens of an image, if it has as many; shorter than ``of``."""
    curve: Literal["linear", "logistic", "tokens"] = "linear"
    """From the statistic to the count. ``linear``: the share ``1/2 + (x - centre) / width`` of the most tokens, cut to
    0 to 1. ``logistic``: the share ``1 / (1 + exp(-(x - centre) / width))``. ``tokens``: ``x / width`` tokens."""
    centre: float = 0.5
    """The statistic at which half of the tokens are kept."""
    width: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """The change of the statistic over which the share changes; negative: the share falls as the statistic grows."""
    low: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share at the low end of a curve."""
    high: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share at the high end of a curve."""
    least: Annotated[int, Field(ge=0)] = 1
    """Fewest tokens to keep of a group that has as many."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.of is not None and self.keep is not None:
            raise ValueError("give either `keep`, the most tokens of an image, or `of`, a budget that says it")
        if self.width == 0 or (self.curve == "tokens" and self.width < 0):
            raise ValueError(f"width must not be 0, and positive for curve: tokens; it is {self.width:g}")
        if self.low > self.high:
            raise ValueError(
                f"low is {self.low:g}, above high, {self.high:g}; for a falling share, use a negative width"
            )
        if self.curve == "tokens" and (self.low, self.high, self.centre) != (0, 1, 0.5):
            raise ValueError("low, high and centre belong to the curves linear and logistic, not to curve: tokens")
        return self


class Measured(Budget[MeasuredSpec]):
    """More tokens for complex images, fewer for plain ones: whatever the statistic says about an image.

    Use it where the count should follow from the image or the question and need not be fixed in advance: plans state
    the most tokens. The same statistic can limit one step of a chain, with the selector `portion`.

    Of K tokens, keeps ``round((low + (high - low) c(x)) K)``, halves to even, at least ``least`` and the required ones;
    c is the curve. Source: PromPrune, arXiv 2603.14892 (logistic); AgilePruner, arXiv 2603.01236 (linear).
    """

    adaptive = True

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """The most tokens of each group: the upper bound."""
        if self.spec.of is not None:
            counts: tuple[int, ...] = self.parts["of"].plan(layout, groups)
            return counts
        if self.spec.keep is not None:
            most = [min(self.spec.keep, size) for _, size in units(layout, groups, "image")]
            return fill(layout, groups, "image", most)
        return tuple(sum(span.tokens for span in group) for group in groups)

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Counts by the statistic of each group."""
        if self.spec.of is not None and self.parts["of"].adaptive:
            counts = self.parts["of"].refine(counts, tokens)
        required = (tokens.required & tokens.valid).sum(1).tolist()
        values = measured(self.parts["statistic"], tokens)
        return tuple(
            min(count, max(self.count(value, count), must, self.spec.least))
            for value, count, must in zip(values, counts, required, strict=True)
        )

    def count(self, value: float, most: int) -> int:
        """Tokens to keep of ``most``, from the statistic alone."""
        spec = self.spec
        if spec.curve == "tokens":
            return max(0, min(most, round(value / spec.width)))
        steps = (value - spec.centre) / spec.width
        if spec.curve == "linear":
            share = min(max(0.5 + steps, 0.0), 1.0)
        else:
            share = 1 / (1 + exp(-min(max(steps, -700.0), 700.0)))
        return round((spec.low + (spec.high - spec.low) * share) * most)

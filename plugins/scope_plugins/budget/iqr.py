"""As many tokens as there are saliency outliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import Layout, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Group, Slot, scores
from scope_plugins._outliers import grid_points, outliers


class IqrSpec(ComponentSpec):
    """A budget that follows from the number of saliency outliers in each group."""

    name: Literal["iqr"] = "iqr"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency whose outliers are counted."""
    fence: Annotated[float, Field(ge=0)] = 1.5
    """Outliers lie above ``Q3 + fence (Q3 - Q1)``."""
    times: Annotated[int, Field(ge=1)] = 1
    """Tokens for each outlier."""
    grid: Annotated[int, Field(ge=0)] = 0
    """Additional grid points for each outlier, about: as many as the selector `grid_fill` adds at that ``density``."""
    floored: bool = False
    """Count ``floor(n * (m / n))`` outliers of n tokens instead of m, in floating point, as PruMerge's release: one
    fewer for some n and m, never for n = 576."""
    plus: Annotated[int, Field(ge=0)] = 0
    """Additional rows, for those that the merger adds."""


class Iqr(Budget[IqrSpec]):
    """More tokens for an image in which many stand out by their saliency, fewer for a plain one.

    Use it where the count should adapt to the image and need not be fixed in advance: `plan` gives the upper bound,
    which is every token.

    Keeps ``times m + plus`` rows, at least 1 token; m is the number of tokens whose saliency is above
    ``Q3 + fence (Q3 - Q1)``. Source: PruMerge, arXiv 2403.15388, section 3.2.
    """

    adaptive = True

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """All tokens of each group: the upper bound."""
        return tuple(sum(span.tokens for span in group) for group in groups)

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Counts by the outliers of each group, at least its required tokens."""
        score = scores(self.parts["saliency"], tokens)
        refined = []
        for group, most in enumerate(counts):
            index = tokens.valid[group].nonzero().flatten()
            values = score[group, index]
            seeds, fence = outliers(values, self.spec.fence, self.spec.floored), self.spec.fence
            points = set(grid_points(values, fence, self.spec.grid, self.spec.floored)) if self.spec.grid else set()
            top = set(values.sort(descending=True, stable=True).indices[:seeds].tolist())
            least = max(int((tokens.required[group] & tokens.valid[group]).sum()), 1)
            refined.append(min(max(seeds * self.spec.times + len(points - top), least) + self.spec.plus, most))
        return tuple(refined)

"""As many tokens as stand out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import Layout, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Group, Slot, scores
from scope_plugins._outliers import grid_points, outliers


class IqrSpec(ComponentSpec):
    """A budget for every group that follows from the outliers of a saliency."""

    name: Literal["iqr"] = "iqr"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """Saliency whose outliers are counted."""
    fence: Annotated[float, Field(ge=0)] = 1.5
    """Outliers lie above ``Q3 + fence (Q3 - Q1)``."""
    times: Annotated[int, Field(ge=1)] = 1
    """Tokens for each outlier."""
    grid: Annotated[int, Field(ge=0)] = 0
    """Grid points for each outlier on top, about: as many as the selector `grid_fill` of that ``density`` adds."""
    plus: Annotated[int, Field(ge=0)] = 0
    """Rows on top, for those that the merger adds."""


class Iqr(Budget[IqrSpec]):
    """``times m + plus`` rows, m the tokens with a saliency above ``Q3 + fence (Q3 - Q1)``, at least 1 token.

    Counts are known only when the image is; `plan` gives the upper bound, which is every token. Source: PruMerge,
    arXiv 2403.15388, section 3.2.
    """

    adaptive = True

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """All tokens of each group: the upper bound."""
        return tuple(sum(span.tokens for span in group) for group in groups)

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """What the outliers of each group come to; never less than its required tokens."""
        score = scores(self.parts["saliency"], tokens)
        made = []
        for group, most in enumerate(counts):
            index = tokens.valid[group].nonzero().flatten()
            values = score[group, index]
            seeds = outliers(values, self.spec.fence)
            points = set(grid_points(len(index), seeds, self.spec.grid)) if self.spec.grid else set()
            top = set(values.sort(descending=True, stable=True).indices[:seeds].tolist())
            least = max(int((tokens.required[group] & tokens.valid[group]).sum()), 1)
            made.append(min(max(seeds * self.spec.times + len(points - top), least) + self.spec.plus, most))
        return tuple(made)

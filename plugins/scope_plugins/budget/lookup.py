"""Token counts for each stage, from a table of tuned values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in


class LookupSpec(ComponentSpec):
    """A table of counts that were tuned for a few budgets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keep": 2, "rows": [[2, 2]]}]})

    shorthand = (int, "keep")

    name: Literal["lookup"] = "lookup"
    keep: int
    """The first number of the row to use."""
    rows: Annotated[tuple[Annotated[tuple[int, ...], Field(min_length=2)], ...], Field(min_length=1)]
    """Each row: the number that ``keep`` refers to, then the tokens of an image after each stage."""


class Lookup(Budget[LookupSpec]):
    """The counts published for a budget, stage by stage.

    Use it to repeat a published setting whose counts follow no formula: the row that begins with ``keep`` is taken.
    Source: SparseVLM's release.
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: no row begins with ``keep``, the row does not have one count for each stage, or an image has
                too few tokens.
        """
        found = [row[1:] for row in self.spec.rows if row[0] == self.spec.keep]
        if not found:
            known = ", ".join(str(row[0]) for row in self.spec.rows)
            raise BudgetError(f"budget 'lookup' has no row for {self.spec.keep}; there are rows for {known}")
        stages = len(layout.schedule) or layout.stage + 1
        if len(found[0]) != stages:
            raise BudgetError(
                f"budget 'lookup': row {self.spec.keep} has counts for {len(found[0])} stages, but there are {stages}"
            )
        count, images = found[0][layout.stage], images_in(groups)
        for number in images:
            if count > layout.images[number].tokens:
                raise BudgetError(
                    f"budget 'lookup' keeps {count} tokens after stage {layout.stage}, but "
                    f"{layout.name_of(number)} has {layout.images[number].tokens} there; its rows "
                    f"are for larger images: use `average` or `staged`"
                )
        return fill(layout, groups, "image", [count] * len(images))

"""Counts for every stage, looked up by a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from scope_core import BudgetError, Layout
from scope_core.parts import Budget, ComponentSpec, Group, fill
from scope_plugins.budget._images import images_in


class LookupSpec(ComponentSpec):
    """Counts that somebody tuned for a few budgets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keep": 2, "rows": [[2, 2]]}]})

    shorthand = (int, "keep")

    name: Literal["lookup"] = "lookup"
    keep: int
    """Which row of ``rows``."""
    rows: Annotated[tuple[Annotated[tuple[int, ...], Field(min_length=2)], ...], Field(min_length=1)]
    """Each row: the number it goes by, then the tokens of an image behind each stage."""


class Lookup(Budget[LookupSpec]):
    """The row that begins with ``keep``. Source: SparseVLM's release."""

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group; each image's sum is exact.

        Raises:
            BudgetError: there is no such row, its length is not that of the schedule, or an image has too few tokens.
        """
        found = [row[1:] for row in self.spec.rows if row[0] == self.spec.keep]
        if not found:
            known = ", ".join(str(row[0]) for row in self.spec.rows)
            raise BudgetError(f"budget 'lookup' has no row for {self.spec.keep}; rows are for {known}")
        stages = len(layout.schedule) or layout.stage + 1
        if len(found[0]) != stages:
            raise BudgetError(
                f"budget 'lookup': row {self.spec.keep} has counts for {len(found[0])} stages, and there are {stages}"
            )
        count, images = found[0][layout.stage], images_in(groups)
        for number in images:
            if count > layout.images[number].tokens:
                raise BudgetError(
                    f"budget 'lookup' keeps {count} tokens behind stage {layout.stage}, but image {number} has "
                    f"{layout.images[number].tokens} there; its rows are for larger images: use `average` or `staged`"
                )
        return fill(layout, groups, "image", [count] * len(images))

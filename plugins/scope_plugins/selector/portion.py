"""Another selector with fewer tokens than it is given: as many as a statistic of the image says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from scope_core import Selection, SpecError, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot


class PortionSpec(ComponentSpec):
    """A part of the tokens that are asked for, by another selector."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"budget": {"name": "measured", "statistic": "spectral_entropy"}}, {"most": 2}]}
    )

    name: Literal["portion"] = "portion"
    of: Annotated[ComponentSpec, Slot("selector")]
    """The selector."""
    budget: Annotated[ComponentSpec | None, Slot("budget", optional=True)] = None
    """A budget that adapts to the image, e.g. `measured`: how many of the tokens asked for are kept."""
    most: Annotated[int | None, Field(ge=0)] = None
    """Most tokens to keep, whatever the budget says."""

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.budget is None and self.most is None:
            raise ValueError("give a `budget` that adapts to the image, or `most`; without them nothing is limited")
        return self


class Portion(Selector[PortionSpec]):
    """A step of a chain whose share of the budget follows from the image.

    Use it as a step before others: what it leaves goes to the next step, so the chain still keeps exactly its budget.
    Alone, it makes the whole selection adaptive.

    Of K tokens asked for, keeps ``min(most, budget.refine(K))``, which may be none. Required tokens, and earlier picks
    that a conditioned step sees, are kept beside these. Source: PromPrune, arXiv 2603.14892.
    """

    adaptive = True

    def __init__(self, spec: PortionSpec, parts: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, parts)
        budget = self.parts.get("budget")
        if budget is not None and not isinstance(budget, tuple) and not budget.adaptive:
            raise SpecError(
                f"selector {self}: budget {budget} keeps the same number of tokens of every image; use one that "
                f"adapts, e.g. 'measured', or `most`"
            )

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The other selector's picks."""
        required = (tokens.required & tokens.valid).sum(1).tolist()
        counts = tuple(count - must for count, must in zip(keep, required, strict=True))
        if self.spec.budget is not None:
            free = replace(tokens, required=torch.zeros_like(tokens.required))
            counts = self.parts["budget"].refine(counts, free)
        if self.spec.most is not None:
            counts = tuple(min(count, self.spec.most) for count in counts)
        wanted = [count + must for count, must in zip(counts, required, strict=True)]
        selection: Selection = self.parts["of"].select(tokens, wanted)
        return selection

"""Selectors one after another: each selects its share of the budget from the tokens left by those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import lcm
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot, apportion


class ChainSpec(ComponentSpec):
    """Selectors in order, each with its share of the budget."""

    name: Literal["chain"] = "chain"
    stages: Annotated[tuple[ComponentSpec, ...], Slot("selector", many=True)]
    """The selectors, first to last."""
    shares: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    """Weight of each step's share of the budget; counts add up to the budget exactly."""
    rounding: Literal["remainder", "floor"] = "remainder"
    """Rounding of shares to whole numbers: by largest remainder; or down, with the rest for the last step."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if len(self.stages) != len(self.shares) or sum(self.shares) <= 0:
            raise ValueError(
                f"give one share per step, not all 0: `stages` has {len(self.stages)} selectors, but `shares` is "
                f"{list(self.shares)}"
            )
        return self


class Chain(Selector[ChainSpec]):
    """Several kinds of tokens in one selection, each kind with its own share of the budget.

    Use it where methods keep, say, salient tokens first and diverse ones from the rest. Later steps neither pick nor
    cover the tokens that earlier steps kept. Required tokens belong to the first steps.

    `Selection.stage` is the step that made each pick, for ``order: stages`` and for mergers that read one step.
    """

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The picks of all steps, one step after another."""
        split = [divided(count, self.spec.shares, self.spec.rounding) for count in keep]
        left, selections = tokens, []
        for step, selector in enumerate(self.parts["stages"]):
            wanted = [counts[step] for counts in split]
            # required tokens beyond a step's count are left to later steps
            fit = left.required.cumsum(1) <= torch.tensor(wanted, device=left.device)[:, None]
            selections.append(selector.select(replace(left, required=left.required & fit), wanted))
            left = left.without(selections[-1].mask)

        def joined(name: str, fill: float) -> Tensor:
            rows = [
                torch.cat([getattr(part, name)[group][part.picks[group] >= 0] for part in selections])
                for group in range(len(keep))
            ]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

        counts = torch.tensor([part.counts for part in selections], device=tokens.device)
        counts = counts.view(len(selections), len(keep))
        order = torch.arange(len(selections), device=tokens.device)
        steps = [order.repeat_interleave(counts[:, group]) for group in range(len(keep))]
        return Selection(
            picks=joined("picks", -1),
            gains=joined("gains", torch.nan),
            scores=joined("scores", torch.nan),
            tokens=tokens,
            stage=torch.nn.utils.rnn.pad_sequence(steps, batch_first=True),
            assigned=_merged_into(selections),
        )


def _merged_into(selections: Sequence[Selection]) -> Tensor | None:
    """(B, N) the token that each was merged into by the first step that merged it; kept tokens refer to themselves."""
    found = [part.assigned for part in selections if part.assigned is not None]
    if not found:
        return None
    home = found[0].clone()
    for assigned in found[1:]:
        home = home.where(home >= 0, assigned)
    for part in selections:
        for row, picks in zip(home, part.picks, strict=True):
            kept = picks[picks >= 0]
            row[kept] = kept
    return home


def divided(total: int, shares: Sequence[float], rounding: str = "remainder") -> list[int]:
    """``total`` divided in proportion to ``shares``: by largest remainder, ties to the earliest step, or down."""
    exact = [Fraction(str(share)) for share in shares]
    if rounding == "floor":
        counts = [int(total * share / sum(exact)) for share in exact[:-1]]
        return [*counts, total - sum(counts)]
    whole = lcm(*(share.denominator for share in exact)) * max(total, 1)
    return apportion(total, [int(share * whole) for share in exact])

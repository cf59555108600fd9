"""Selectors one after another: the first takes its share, the next chooses from what is left."""

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
    """Weight of each stage's share of the budget; counts add up to it exactly."""
    rounding: Literal["remainder", "floor"] = "remainder"
    """How shares become whole numbers: by largest remainder; or rounded down, the rest to the last stage."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if len(self.stages) != len(self.shares) or sum(self.shares) <= 0:
            raise ValueError(
                f"give one share per stage, not all 0: there are {len(self.stages)} stages, and shares "
                f"{list(self.shares)}"
            )
        return self


class Chain(Selector[ChainSpec]):
    """Later stages neither pick nor cover what earlier ones kept. Required tokens fall to the first stages.

    `Selection.stage` says which stage made each pick, for ``order: stages`` and for mergers that look at one stage.
    """

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The stages' picks, one stage after another."""
        split = [divided(count, self.spec.shares, self.spec.rounding) for count in keep]
        left, made = tokens, []
        for stage, selector in enumerate(self.parts["stages"]):
            wanted = [counts[stage] for counts in split]
            # required tokens beyond a stage's count are left to later stages: no selector is asked for the impossible
            fit = left.required.cumsum(1) <= torch.tensor(wanted, device=left.device)[:, None]
            made.append(selector.select(replace(left, required=left.required & fit), wanted))
            left = left.without(made[-1].mask)

        def joined(name: str, fill: float) -> Tensor:
            rows = [
                torch.cat([getattr(part, name)[group][part.picks[group] >= 0] for part in made])
                for group in range(len(keep))
            ]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

        counts = torch.tensor([part.counts for part in made], device=tokens.device).view(len(made), len(keep))
        order = torch.arange(len(made), device=tokens.device)
        stages = [order.repeat_interleave(counts[:, group]) for group in range(len(keep))]
        return Selection(
            picks=joined("picks", -1),
            gains=joined("gains", torch.nan),
            scores=joined("scores", torch.nan),
            tokens=tokens,
            stage=torch.nn.utils.rnn.pad_sequence(stages, batch_first=True),
            assigned=folded(made),
        )


def folded(made: Sequence[Selection]) -> Tensor | None:
    """(B, N) where each token was folded into by the first stage that did; kept ones point at themselves."""
    found = [part.assigned for part in made if part.assigned is not None]
    if not found:
        return None
    home = found[0].clone()
    for assigned in found[1:]:
        home = home.where(home >= 0, assigned)
    for part in made:
        for row, picks in zip(home, part.picks, strict=True):
            kept = picks[picks >= 0]
            row[kept] = kept
    return home


def divided(total: int, shares: Sequence[float], rounding: str = "remainder") -> list[int]:
    """``total`` in proportion to ``shares``, exactly: by largest remainder, ties to the earliest stage, or down."""
    exact = [Fraction(str(share)) for share in shares]
    if rounding == "floor":
        counts = [int(total * share / sum(exact)) for share in exact[:-1]]
        return [*counts, total - sum(counts)]
    whole = lcm(*(share.denominator for share in exact)) * max(total, 1)
    return apportion(total, [int(share * whole) for share in exact])

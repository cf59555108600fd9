"""Selectors one after another: the first takes its share, the next chooses from what is left."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from scope_core import ComponentSpec, Selector, Slot, apportion

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from scope_core import Selection, VisualTokens


class ChainSpec(ComponentSpec):
    """Selectors in order, each with its share of the budget."""

    name: Literal["chain"] = "chain"
    stages: Annotated[tuple[ComponentSpec, ...], Slot("selector", many=True)]
    """The selectors, first to last."""
    shares: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    """Weight of each stage's share of the budget; counts are exact, by largest remainder."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if len(self.stages) != len(self.shares) or sum(self.shares) <= 0:
            raise ValueError(
                f"give one share per stage, not all 0: there are {len(self.stages)} stages, and shares "
                f"{list(self.shares)}"
            )
        return self


class Chain(Selector[ChainSpec]):
    """Later stages neither pick nor cover what earlier ones kept. Required tokens fall to the first stages."""

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The stages' picks, one stage after another."""
        import torch

        from scope_core import Selection

        split = [divided(count, self.spec.shares) for count in keep]
        left, made = tokens, []
        for stage, selector in enumerate(self.parts["stages"]):
            made.append(selector.select(left, [counts[stage] for counts in split]))
            left = left.without(made[-1].mask)

        def joined(name: str, group: int) -> Tensor:
            return torch.cat([getattr(part, name)[group][part.picks[group] >= 0] for part in made])

        rows = [[joined(name, group) for group in range(len(keep))] for name in ("picks", "gains", "scores")]
        padded = [
            torch.nn.utils.rnn.pad_sequence(column, batch_first=True, padding_value=fill)
            for column, fill in zip(rows, (-1, torch.nan, torch.nan), strict=True)
        ]
        return Selection(picks=padded[0], gains=padded[1], scores=padded[2], tokens=tokens)


def divided(total: int, shares: Sequence[float]) -> list[int]:
    """``total`` in proportion to ``shares``, exactly: largest remainder, ties to the earliest stage."""
    exact = [Fraction(str(share)) for share in shares]
    whole = lcm(*(share.denominator for share in exact)) * max(total, 1)
    return apportion(total, [int(share * whole) for share in exact])

"""Selectors one after another: each selects its share of the budget from the tokens left by those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import lcm
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot, apportion
from scope_plugins._fractions import fraction


class ChainSpec(ComponentSpec):
    """Selectors in order, each with its share of the budget."""

    name: Literal["chain"] = "chain"
    stages: Annotated[tuple[ComponentSpec, ...], Slot("selector", many=True)]
    """The selectors, first to last."""
    shares: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    """Weight of each step's share of the budget; counts add up to the budget exactly."""
    rounding: Literal["remainder", "floor"] = "remainder"
    """Rounding of shares to whole numbers: by largest remainder; or down, with the rest for the last step."""
    conditioned: bool | tuple[tuple[Annotated[int, Field(ge=0)], ...], ...] = False
    """Steps that see earlier picks, so that coverage and distances start from these. ``true``: each step sees all steps
    before it; ``false``: none. Or the numbers of the steps that each step sees: ``[[], [0], [1]]``."""

    @model_validator(mode="after")
    def _one_share_each(self) -> Self:
        if len(self.stages) != len(self.shares) or sum(self.shares) <= 0:
            raise ValueError(
                f"give one share per step, not all 0: `stages` has {len(self.stages)} selectors, but `shares` is "
                f"{list(self.shares)}"
            )
        return self

    @model_validator(mode="after")
    def _sees_earlier_steps(self) -> Self:
        if isinstance(self.conditioned, bool):
            return self
        given = [list(seen) for seen in self.conditioned]
        if len(given) != len(self.stages) or any(step >= number for number, seen in enumerate(given) for step in seen):
            raise ValueError(
                f"`conditioned` has one list per step, with the numbers of earlier steps, from 0; there are "
                f"{len(self.stages)} steps, but it is {given}. To see all earlier steps, use `conditioned: true`"
            )
        return self

    def sees(self, step: int) -> tuple[int, ...]:
        """The numbers of the earlier steps whose picks a step sees."""
        if isinstance(self.conditioned, bool):
            return tuple(range(step)) if self.conditioned else ()
        return self.conditioned[step]


class Chain(Selector[ChainSpec]):
    """Several kinds of tokens in one selection, each kind with its own share of the budget.

    Use it where methods keep, say, salient tokens first and diverse ones from the rest. Later steps do not pick what
    earlier steps kept. With ``conditioned``, they take it into account: a step runs on the tokens left and the picks
    that it sees, which it must keep and which come before its own, so running maxima, distances and determinants start
    from them, and saliency is scaled over both. Without it, a step neither picks nor covers earlier picks.

    A step that decides how many tokens it keeps (an adaptive selector) leaves what it does not use to the next step;
    the chain itself is adaptive if its last step is. A share that comes to 0 tokens skips the step. Required tokens
    belong to the first steps.

    `Selection.stage` is the step that made each pick, for ``order: stages`` and for mergers that read one step.
    Source: AnchorPrune, arXiv 2607.07033 (steps that see earlier picks).
    """

    copies = 0

    @property
    def adaptive(self) -> bool:  # what other steps leave goes to the last
        """True if the last step may keep fewer tokens than it is given."""
        return bool(self.parts["stages"][-1].adaptive)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The picks of all steps, one step after another."""
        split = [divided(count, self.spec.shares, self.spec.rounding) for count in keep]
        left, selections, spare = tokens, list[Selection](), [0] * len(keep)
        for step, selector in enumerate(self.parts["stages"]):
            wanted = [counts[step] + more for counts, more in zip(split, spare, strict=True)]
            view = left
            if any(left.n_required):  # those beyond a step's count are left to later steps
                fit = left.required.cumsum(1) <= torch.tensor(wanted, device=left.device)[:, None]
                view = replace(left, required=left.required & fit)
            seen = [selections[number] for number in self.spec.sees(step)]
            selections.append(_after(seen, selector, view, wanted) if seen else selector.select(view, wanted))
            spare = [count - taken for count, taken in zip(wanted, selections[-1].counts, strict=True)]
            left = left.without(selections[-1].mask)

        parts = [part.counts for part in selections]
        full = all(count == part.picks.shape[1] for part in selections for count in part.counts)

        def joined(name: str, fill: float) -> Tensor:
            if full:
                return torch.cat([getattr(part, name) for part in selections], 1)
            rows = [
                torch.cat([getattr(part, name)[group][part.picks[group] >= 0] for part in selections])
                for group in range(len(keep))
            ]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

        steps = [
            [step for step, counts in enumerate(parts) for _ in range(counts[group])] for group in range(len(keep))
        ]
        most = max(map(len, steps), default=0)
        stage = torch.tensor([row + [0] * (most - len(row)) for row in steps], device=tokens.device)
        return Selection(
            picks=joined("picks", -1),
            gains=joined("gains", torch.nan),
            scores=joined("scores", torch.nan),
            tokens=tokens,
            stage=stage.view(len(keep), most).long(),
            assigned=_merged_into(selections),
            shares=_shares(selections),
        )


def _after(seen: Sequence[Selection], selector: Selector[Any], left: VisualTokens, wanted: Sequence[int]) -> Selection:
    """The selector's own picks after those that it sees, which it must keep."""
    kept = torch.stack([part.mask for part in seen]).any(0)
    both = replace(left, valid=left.valid | kept, required=left.required | kept)
    total = [count + before for count, before in zip(wanted, kept.sum(1).tolist(), strict=True)]
    whole = selector.select(both, total)
    own = (whole.picks >= 0) & ~kept.gather(1, whole.picks.clamp(min=0))

    def rows(values: Tensor, fill: float) -> Tensor:
        each = [row[mine] for row, mine in zip(values, own, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(each, batch_first=True, padding_value=fill)

    nan = torch.nan
    picks, gains, scores = rows(whole.picks, -1), rows(whole.gains, nan), rows(whole.scores, nan)
    return Selection(picks, gains, scores, left, assigned=whole.assigned, shares=whole.shares)


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


def _shares(selections: Sequence[Selection]) -> Tensor | None:
    """(B, N) the weight of each token in its row, by the first step that merged it; 1 for others."""
    if all(part.shares is None for part in selections):
        return None
    weights = torch.ones_like(selections[0].tokens.features[..., 0])
    free = torch.ones_like(selections[0].tokens.valid)
    for part in selections:
        if part.assigned is not None:
            taken = free & (part.assigned >= 0)
            weights = weights if part.shares is None else torch.where(taken, part.shares.to(weights), weights)
            free = free & ~taken
        free = free & ~part.mask
    return weights


@lru_cache(maxsize=256)
def divided(total: int, shares: tuple[float, ...], rounding: str = "remainder") -> tuple[int, ...]:
    """``total`` divided in proportion to ``shares``: by largest remainder, ties to the earliest step, or down."""
    exact = [fraction(share) for share in shares]
    if rounding == "floor":
        counts = [int(total * share / sum(exact)) for share in exact[:-1]]
        return (*counts, total - sum(counts))
    whole = lcm(*(share.denominator for share in exact)) * max(total, 1)
    return tuple(apportion(total, [int(share * whole) for share in exact]))

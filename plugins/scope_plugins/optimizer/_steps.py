"""Greedy rounds in which the candidates, or when gains are looked at again, can be changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Picks, Problem


def stepwise(
    problem: Problem, keep: Sequence[int], *, step: int = 1, among: Callable[[Tensor], Tensor] | None = None
) -> Picks:
    """Rounds of argmax; ties break to the lowest index, required tokens come before the others.

    Args:
        problem: What is optimized.
        keep: Picks of each group.
        step: Picks before gains and scores are computed again.
        among: Makes of the (B, N) tokens that may be picked next those that are looked at; all if left out.
    """
    import torch

    from scope_core import Picks, PluginOutputError

    tokens = problem.tokens
    counts = torch.tensor(keep, device=tokens.device)
    left = problem.candidates.clone()
    rows = torch.arange(len(counts), device=tokens.device)
    state = problem.start() if problem.combiner.uses_coverage else None
    gain = score = tokens.features.new_ones(tokens.shape[:2])
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(max(keep, default=0)):
        if number % step == 0:
            if state is not None:
                gain = problem.gain(state).clone()  # a state may be changed in place
            score = problem.score(gain)
        first = left & tokens.required
        open_ = torch.where(first.any(1, keepdim=True), first, left)
        if among is not None:
            open_ = among(open_)
        pick = score.masked_fill(~open_, -torch.inf).argmax(1)
        live = number < counts
        made.append((pick.masked_fill(~live, -1), gain[rows, pick], score[rows, pick]))
        left[rows, pick] = False
        if state is not None:
            state = problem.add(state, pick)
    if not made:
        empty = tokens.features.new_zeros((len(counts), 0))
        return Picks(empty.to(torch.int64), empty, empty)
    picks, gains, scores = (torch.stack(column, 1) for column in zip(*made, strict=True))
    bad = ~torch.isfinite(scores) & (picks >= 0)
    if bool(bad.any()):  # asked once, after the last pick: on an accelerator each question waits for it
        group, number = (int(i) for i in bad.nonzero()[0])
        raise PluginOutputError(
            f"pick {number} of {tokens.name_of(group)} has score {float(scores[group, number])}: coverage "
            f"{problem.coverage} gave gain {float(gains[group, number])} and combiner {problem.combiner} made "
            f"that of it; check the saliency's sign and range"
        )
    return Picks(picks, gains.masked_fill(picks < 0, torch.nan), scores.masked_fill(picks < 0, torch.nan))

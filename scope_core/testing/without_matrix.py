"""What parts promise that are selected by without the N x N matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scope_core.blocks import Blocks
from scope_core.interfaces import Picks
from scope_core.testing.cases import Case
from scope_core.testing.harness import Broken
from scope_core.testing.running import differing, run, scene_of
from scope_core.testing.subject import Subject
from scope_core.testing.watching import floats
from scope_core.tokens import VisualTokens

NEAR = 1e-9
"""How far below the highest score a pick's may be, as a share of it: no more than rounding in float64."""


def vectors(subject: Subject, case: Case) -> None:
    """Dot products of `vectors()`, where there are any, are what `pairwise()` gives, up to rounding."""
    scene = scene_of(subject, case)
    tokens = scene.tokens
    with torch.no_grad():
        made = subject.part().vectors(tokens)
    if made is None:
        return
    width = made.shape[-1] if isinstance(made, Tensor) and made.dim() else 0
    mine = floats(made, (*tokens.shape[:2], width), "vectors()", scene)
    mine = mine.double().masked_fill(~tokens.valid[..., None], 0)
    (plane,) = run(subject, scene).values()
    pairs = tokens.valid[:, :, None] & tokens.valid[:, None, :]
    products, matrix = mine @ mine.mT, plane.values.double().masked_fill(~pairs, 0)
    odd = differing(products, matrix) & ((products - matrix).abs() > 1e-5 * products.abs().amax((1, 2), keepdim=True))
    if bool(odd.any()):
        group, row, col = (int(i) for i in odd.nonzero()[0])
        raise Broken(
            f"the dot product of vectors() {row} and {col} of group {group} is {float(products[group, row, col]):.6g}; "
            f"pairwise() gave {float(matrix[group, row, col]):.6g}"
        )


def picks_in_blocks(subject: Subject, case: Case) -> None:
    """`picks_in_blocks` gives what the loop over `gain` and `add` gives from the same similarities."""
    scene = scene_of(subject, case)
    part = subject.part()
    required = scene.tokens.require(scene.rank < 0.3)
    least = (required.required & required.valid).sum(1).tolist()
    for group, count in enumerate(map(max, scene.counts(0.7), least)):
        tokens = required.only(group, required.shape[1]).to_dtype(torch.float64)
        unit = tokens.unit().abs() if part.nonnegative_similarity else tokens.unit()
        blocks = Blocks.of(unit[0], tokens.valid[0])
        scale = scene.rank[group : group + 1].double()
        with torch.no_grad():
            made = part.picks_in_blocks(blocks, tokens, scale, (1 - scale) / 8, count)
            picks = made.picks[0].tolist() if isinstance(made, Picks) and made.picks.dim() == 2 else []
            if len(picks) != count:
                raise Broken(f"picks_in_blocks() gave {made!r} for group {group}; expected Picks with {count} picks")
            _greedy(part, blocks, tokens, scale, picks, f"of group {group}")


def _greedy(part: Any, blocks: Blocks, tokens: VisualTokens, scale: Tensor, picks: list[int], where: str) -> None:
    """Refuse picks of which one has not the highest score, but for rounding, after those before it."""
    matrix = torch.stack([blocks.row(torch.tensor(token)) for token in range(tokens.shape[1])])[None]
    state, left = part.start(matrix, tokens), tokens.valid[0].clone()
    for step, pick in enumerate(picks):
        score = (part.gain(state) * scale + (1 - scale) / 8)[0]
        must = left & tokens.required[0]
        free = must if bool(must.any()) else left
        if not (0 <= pick < len(left) and bool(free[pick])):
            raise Broken(f"picks_in_blocks() gives {picks} {where}; pick {step} was not to be picked then")
        best = score.masked_fill(~free, -torch.inf)
        ties = best >= best.amax() - NEAR * float(best.amax().abs())
        if pick not in ties.nonzero()[:, 0].tolist():
            raise Broken(
                f"picks_in_blocks() gives {picks} {where}; the loop over gain() and add() would pick "
                f"{int(best.argmax())} instead of {pick} after {picks[:step]}"
            )
        left[pick] = False
        state = part.add(state, torch.tensor([pick]))

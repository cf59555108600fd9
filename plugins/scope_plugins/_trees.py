"""Trees of tokens that look alike from frame to frame: each token may hang on one of the frame before."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_plugins._frames import before, cells

Link = Literal["nearest", "cell"]
Span = Literal["any", "all", "mean"]


def roots(tokens: VisualTokens, group: int, link: Link, threshold: float, span: Span, least: int = 0) -> Tensor:
    """(N,) the root of each token's tree, the token itself if it hangs on none; -1 for tokens that are not valid.

    Args:
        tokens: The tokens; required ones are always roots.
        group: The group.
        link: ``nearest``: a token may hang on the most similar token of the frame before, ties to the lowest index;
            ``cell``: on the token at its place.
        threshold: Least cosine of the two.
        span: ``any``: tokens of some frames may form a tree; ``all``: only those of a place that is linked from the
            first frame of the group to the last; ``mean``: only a place that is in all frames, and whose tokens have a
            mean cosine, over all pairs of frames, of at least the threshold.
        least: Fewest roots, if there are as many tokens: links of the lowest cosines are cut, the latest first.
    """
    tokens, group = tokens.only(group, tokens.shape[1]), 0  # what follows grows with this group alone
    unit = tokens.unit()[0]
    parent, same = _nearest(tokens, group, unit) if link == "nearest" else _at_place(tokens, group, unit)
    linked = (parent >= 0) & ~tokens.required[group]
    if span == "mean":
        linked &= _still(tokens, group, unit, threshold)
    else:
        linked &= same >= threshold
        if span == "all":
            linked &= _unbroken(parent, linked, tokens.frames()[group])
    index = linked.nonzero().flatten()
    spare = int(tokens.valid[group].sum()) - least
    if len(index) > spare:  # keep the strongest links
        weakest = index[same[index].sort(descending=True, stable=True).indices[max(spare, 0) :]]
        linked[weakest] = False
    own = torch.arange(len(parent), device=parent.device)
    root = parent.where(linked, own)
    while not torch.equal(further := root[root], root):
        root = further
    return root.masked_fill(~tokens.valid[group], -1)


def _at_place(tokens: VisualTokens, group: int, unit: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) the token at each token's place in the frame before, and its cosine; -1 where there is none."""
    parent = before(tokens, group)
    same = unit.new_full(parent.shape, -1.0)
    now = (parent >= 0).nonzero().flatten()
    same[now] = (unit[now] * unit[parent[now]]).sum(1)
    return parent, same


def _nearest(tokens: VisualTokens, group: int, unit: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) the most similar token of the frame before each token's, and its cosine; -1 where there is none."""
    numbers = tokens.frames()[group]
    parent, same = torch.full_like(numbers, -1), unit.new_full(numbers.shape, -1.0)
    frames = [(numbers == number).nonzero().flatten() for number in range(int(numbers.max()) + 1)]
    for earlier, now in pairwise(frames):
        cosine = unit[now] @ unit[earlier].T
        place = cosine.argmax(1)
        parent[now], same[now] = earlier[place], cosine.gather(1, place[:, None])[:, 0]
    return parent, same


def _unbroken(parent: Tensor, linked: Tensor, frame: Tensor) -> Tensor:
    """(N,) True for tokens of chains of links that reach from frame 0 to the last."""
    whole = torch.zeros_like(linked)
    line = (frame == frame.max()).nonzero().flatten()  # one token of each chain, a frame further back in every round
    ends = line
    for _ in range(int(frame.max())):
        on = linked[line]
        ends, line = ends[on], parent[line[on]]
    while bool((linked[ends]).any()):
        whole[ends] = True
        ends = parent[ends[linked[ends]]]
    return whole


def _still(tokens: VisualTokens, group: int, unit: Tensor, threshold: float) -> Tensor:
    """(N,) True for tokens of places in all frames, with a mean cosine over all pairs of frames."""
    place, frame = cells(tokens, group), tokens.frames()[group]
    index = (place >= 0).nonzero().flatten()
    still = torch.zeros_like(place, dtype=torch.bool)
    frames = int(frame.max()) + 1
    if not len(index) or frames < 2:
        return still
    places = int(place.max()) + 1
    sums = unit.new_zeros(places, unit.shape[1]).index_add_(0, place[index], unit[index])
    norms = unit.new_zeros(places).index_add_(0, place[index], unit[index].square().sum(1))
    pairs = (sums.square().sum(1) - norms) / (frames * (frames - 1))
    whole = (place[index].bincount(minlength=places) == frames) & (pairs >= threshold)
    still[index] = whole[place[index]]
    return still

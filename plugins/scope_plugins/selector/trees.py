"""Tokens that look alike from frame to frame are merged, and another selector chooses among what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector, Slot
from scope_plugins._trees import roots
from scope_plugins.selector._rows import selection_of
from scope_plugins.selector._shares import remainder_shares


class TreesSpec(ComponentSpec):
    """Trees of tokens from frame to frame, each of which counts as one token."""

    name: Literal["trees"] = "trees"
    link: Literal["nearest", "cell"] = "nearest"
    """The token of the frame before that a token is merged into: the most similar one, or that at its place."""
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.8
    """Least cosine of the two."""
    span: Literal["any", "all", "mean"] = "any"
    """Frames of a tree: any number; or only all frames of the group, with ``cell``: either each linked to the one
    before (``all``), or with a mean cosine, over all pairs of frames, of at least the threshold (``mean``)."""
    selector: Annotated[ComponentSpec, Slot("selector")]
    """The selector among the trees, which sees the first token of each with the mean of its features."""
    of_merged: Annotated[ComponentSpec | None, Slot("selector", optional=True)] = None
    """The selector among trees of several tokens; ``selector`` then chooses among single tokens, and the two share the
    count by the number of their trees. Null: ``selector`` chooses among all."""


class Trees(Selector[TreesSpec]):
    """What stays the same from frame to frame is kept once, as its mean, however long it is seen.

    Use it for videos in which much stands still (``cell``) or moves slowly (``nearest``), with the merger `average`.

    A token is merged into one of the frame before if their cosine is at least ``threshold``; chains and branches form
    a tree, whose root is its earliest token. If fewer trees than tokens to keep would be left, the links of the lowest
    cosines are cut. Required tokens are roots. Of a tree that is picked, or merged into a pick, all tokens weigh the
    same, and together as much as one token. All tokens equal: one tree for each token of the first frame, or with
    ``nearest`` one for all, as far as the count allows. Images of a group are frames of one video.
    Source: FlashVID, ICLR 2026 (nearest); HoliTom, NeurIPS 2025, arXiv 2505.21334 (all); PruneVid, ACL 2025,
    arXiv 2412.16117 (mean); FrameFusion, ICCV 2025, arXiv 2501.01986 (cell).
    """

    reads_places = True
    equivariant = False
    copies = 5

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """That of the selectors inside, and similarities of neighbouring frames; trees of all frames are few.

        A tree through all frames has a token of each, so there are no more than a frame has tokens.
        """
        inside = [self.parts["selector"].execution(sizes, itemsize, free)]
        if self.spec.of_merged is not None:
            few = [_largest_frame(size) if self.spec.span != "any" else size for size in sizes]
            inside.append(self.parts["of_merged"].execution(few, itemsize, free))
        if self.spec.link == "nearest":
            pairs = [_largest_pair(size) for size in sizes]
            inside.append(Execution(memory=2 * max(pairs, default=0) * itemsize))
        return Execution.of(inside)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The picks of the selectors inside: first single tokens, then trees, where these have one of their own."""
        spec = self.spec
        trees = [
            roots(tokens, group, spec.link, spec.threshold, spec.span, count) if count else tokens.row[group] * 0 - 1
            for group, count in enumerate(keep)
        ]
        root = torch.stack(trees) if trees else tokens.row
        view, size = _merged(tokens, root)
        whole = spec.of_merged is None
        chosen = [self.parts["selector"].select(view, keep)] if whole else self._parts(view, size > 1, keep)
        picks = [torch.cat([part.picks[g][part.picks[g] >= 0] for part in chosen]) for g in range(len(keep))]
        gains, values = (
            [torch.cat([getattr(part, name)[g][part.picks[g] >= 0] for part in chosen]) for g in range(len(keep))]
            for name in ("gains", "scores")
        )
        home, weight = _joined(chosen, view)
        inside = root.clamp(min=0)
        assigned = home.gather(1, inside).masked_fill(root < 0, -1)
        shares = weight.gather(1, inside) / size.gather(1, inside).clamp(min=1).to(weight)
        return selection_of(picks, gains, values, tokens, assigned=assigned, shares=shares)

    def _parts(self, view: VisualTokens, several: Tensor, keep: Sequence[int]) -> list[Selection]:
        """Selections among single tokens, and among trees of several."""
        kinds = [view.without(several), view.without(~several)]
        sizes = [kind.valid.sum(1).tolist() for kind in kinds]
        must = [(kind.required & kind.valid).sum(1).tolist() for kind in kinds]
        split = [
            remainder_shares(count, [size[g] for size in sizes], [least[g] for least in must], [s[g] for s in sizes])
            for g, count in enumerate(keep)
        ]
        of_each = (self.parts["selector"], self.parts["of_merged"])
        return [
            part.select(kind, [counts[number] for counts in split])
            for number, (part, kind) in enumerate(zip(of_each, kinds, strict=True))
        ]


def _largest_frame(size: int) -> int:
    return max(getattr(size, "frames", ()), default=size)


def _largest_pair(size: int) -> int:
    """The most similarities of two frames that follow each other, of any frames if these are unknown."""
    frames = getattr(size, "frames", ())
    return max((one * other for one, other in pairwise(frames)), default=0) if frames else size**2 // 4


def _merged(tokens: VisualTokens, root: Tensor) -> tuple[VisualTokens, Tensor]:
    """The roots alone, with the mean features of their trees, and (B, N) the number of tokens of each."""
    batch, count, width = tokens.shape
    live = root >= 0
    place = (root + count * torch.arange(batch, device=root.device)[:, None])[live]
    size = place.bincount(minlength=batch * count).view(batch, count)
    sums = tokens.features.new_zeros(batch * count, width).index_add_(0, place, tokens.features[live])
    several = (size > 1)[..., None]
    means = sums.view(batch, count, width) / size.clamp(min=1)[..., None].to(sums)
    return replace(tokens, features=means.where(several, tokens.features), valid=tokens.valid & (size > 0)), size


def _joined(chosen: Sequence[Selection], view: VisualTokens) -> tuple[Tensor, Tensor]:
    """(B, N) the pick that each root is merged into, -1 for none, and its weight there."""
    home, weight = torch.full_like(view.row, -1), torch.ones_like(view.features[..., 0])
    own = torch.arange(view.shape[1], device=view.device)
    for part in chosen:
        assigned = own.expand_as(home).masked_fill(~part.mask, -1) if part.assigned is None else part.assigned
        taken = assigned >= 0
        home = assigned.where(taken, home)
        weight = weight if part.shares is None else part.shares.to(weight).where(taken, weight)
    return home, weight

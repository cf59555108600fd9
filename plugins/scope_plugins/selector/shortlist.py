"""Another selector among the most salient tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot, scores
from scope_plugins._fractions import fraction
from scope_plugins.selector._rows import ranked


class ShortlistSpec(ComponentSpec):
    """A share of the tokens by saliency, and another selector that sees no others."""

    name: Literal["shortlist"] = "shortlist"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency by which tokens are listed."""
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of a group's tokens that are listed, rounded down; more if the selector must keep more."""
    of: Annotated[ComponentSpec, Slot("selector")]
    """The selector that picks among them."""


class Shortlist(Selector[ShortlistSpec]):
    """Tokens that matter, chosen from only those that matter enough.

    Use it where a selector looks for variety, such as centres of clusters, and would spend picks on what no one asks
    for. The others are neither picked nor compared.

    The listed tokens are the ``floor(share x N)`` of largest saliency; at least as many as are to be kept, unless the
    selector decides how many. Required tokens are listed first. Source: PACT, CVPR 2025, arXiv 2504.08966.
    """

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The other selector's picks."""
        score, share = scores(self.parts["saliency"], tokens), fraction(self.spec.share)
        listed, counts = torch.zeros_like(tokens.valid), list[int]()
        for group, wanted in enumerate(keep):
            order = ranked(score[group], tokens, group)
            least = 0 if self.parts["of"].adaptive else wanted
            most = max(int(share * len(order)), least, int(tokens.required[group].sum()))
            listed[group, order[:most]] = True
            counts.append(min(wanted, most, len(order)))
        found: Selection = self.parts["of"].select(tokens.without(~listed), counts)
        return replace(found, tokens=tokens)

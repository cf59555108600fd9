"""One for each tree of tokens that look alike from frame to frame, shared by its tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._trees import roots


class TreeShareSpec(ComponentSpec):
    """The share of each token in its tree; see the selector `trees`."""

    name: Literal["tree_share"] = "tree_share"
    link: Literal["nearest", "cell"] = "nearest"
    """The token of the frame before that a token is merged into: the most similar one, or that at its place."""
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.8
    """Least cosine of the two."""
    span: Literal["any", "all", "mean"] = "any"
    """Frames of a tree, as in the selector `trees`."""


class TreeShare(SaliencySource[TreeShareSpec]):
    """Little for what stands still for long, 1 for what is seen in one frame only.

    Use it in `quota` with ``of_piece: sum``: a piece then counts as many tokens as the selector `trees` leaves of it.

    ``a_j = 1 / n``, where n is the number of tokens of j's tree. Images of a group are frames of one video.
    Source: HoliTom, NeurIPS 2025, arXiv 2505.21334.
    """

    reads_places = True

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) above 0 and up to 1; 0 for tokens that are not valid."""
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, valid in enumerate(tokens.valid):
            if bool(valid.any()):
                root = roots(tokens, group, self.spec.link, self.spec.threshold, self.spec.span)[valid]
                score[group, valid] = 1 / root.bincount(minlength=len(valid))[root].to(score)
        return score

"""Pieces of tokens by the principal component that each has most of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, TokenPartition
from scope_plugins._fractions import fraction


class PrincipalSpec(ComponentSpec):
    """Principal components of the tokens; each token belongs to that of its largest loading."""

    name: Literal["principal"] = "principal"
    share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Number of components, as a share of the tokens to keep, to the nearest whole number; at least 1."""
    plus: Annotated[int, Field(ge=0)] = 0
    """Rows that a merger adds, which count as tokens to keep here."""


class Principal(TokenPartition[PrincipalSpec]):
    """Pieces of tokens that vary together over the channels, about one for each theme of the image.

    Use it to keep tokens of every theme, the number of which follows from the tokens to keep.

    With ``A = sigmoid(X)^T`` (D x n), each token's mean over channels subtracted, token i belongs to the one of the
    first q right singular vectors v of A with the largest ``|v_i|``, ties to the first; ``q = round(share (K +
    plus))``. Directions without variance are left out, so tokens that are all equal are one piece. Exact, in float64,
    where the release draws at random. Source: PruneSID, arXiv 2603.09480, section 3.2.
    """

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The component of each token; components that no token belongs to have no number."""
        labels = torch.full_like(tokens.row, -1)
        for group, (valid, count) in enumerate(zip(tokens.valid, keep, strict=True)):
            rows = tokens.features[group, valid].double().sigmoid()
            if not len(rows):
                continue
            wanted = max(1, round(fraction(self.spec.share) * (count + self.spec.plus)))
            labels[group, valid] = torch.unique(_largest_loading(rows, wanted), return_inverse=True)[1]
        return labels


def _largest_loading(rows: Tensor, count: int) -> Tensor:
    """(n,) index of the component of each of (n, D) rows."""
    centred = rows - rows.mean(1, keepdim=True)
    gram = centred @ centred.T
    values, vectors = torch.linalg.eigh(gram)
    rounding = len(rows) * torch.finfo(gram.dtype).eps * float(values[-1])
    used = min(count, max(1, int((values > rounding).sum())))
    largest: Tensor = vectors[:, -used:].flip(1).abs().argmax(1)
    return largest

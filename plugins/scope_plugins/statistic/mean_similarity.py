"""How alike two tokens of a group are on average."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Slot, Statistic, similarities


class MeanSimilaritySpec(ComponentSpec):
    """Mean similarity over all pairs of different tokens."""

    name: Literal["mean_similarity"] = "mean_similarity"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""


class MeanSimilarity(Statistic[MeanSimilaritySpec]):
    """The redundancy of an image: high where most tokens show the same.

    Use it to keep fewer tokens of plain images, or as the scale of a threshold on similarities.

    Mean of ``S_ij`` over all ordered pairs of different valid tokens. 1 for the cosine if all tokens are equal; 0 for a
    group of fewer than two tokens. Source: PruneSID, arXiv 2603.09480, equation 4.
    """

    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,) in the range of the similarity."""
        found = []
        for group in range(tokens.shape[0]):
            matrix = similarities(self.parts["similarity"], tokens.only(group, tokens.shape[1]))[0]
            count = int(tokens.valid[group].sum())
            between = matrix.sum(dtype=torch.float64) - matrix.diagonal().sum(dtype=torch.float64)
            found.append(float(between) / (count * (count - 1)) if count > 1 else 0.0)
        return tokens.features.new_tensor(found)

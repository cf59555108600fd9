"""How evenly a saliency spreads over the tokens of a group."""

from __future__ import annotations

from math import log
from typing import Annotated, Literal

from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, Slot, Statistic, scores
from scope_plugins.statistic._spectrum import entropy


class SaliencyEntropySpec(ComponentSpec):
    """Entropy of a saliency, divided by its largest possible value."""

    name: Literal["saliency_entropy"] = "saliency_entropy"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency; it must not be negative."""


class SaliencyEntropy(Statistic[SaliencyEntropySpec]):
    """Low where a few tokens have nearly all of the saliency, high where it is spread over the image.

    Use it with attention for how complex an image is, or with the text's relevance for how much of the image the
    question is about: ``{name: scaled, of: text_relevance, scale: min_max}``.

    ``-sum_j p_j log p_j / log n`` with ``p_j = a_j / sum a``. In [0, 1]; 1 if all scores are equal, also if they are 0.
    Source: AgilePruner, arXiv 2603.01236, which measures the entropy of attention.
    """

    def measure(self, tokens: VisualTokens) -> Tensor:
        """(B,) in [0, 1].

        Raises:
            TokensError: a score is negative.
        """
        score = scores(self.parts["saliency"], tokens).double()
        negative = ((score < 0) & tokens.valid).nonzero()
        if len(negative):
            group, token = (int(i) for i in negative[0])
            raise TokensError(
                f"statistic {self}: an entropy needs scores of at least 0, but {self.parts['saliency']} gave "
                f"{float(score[group, token]):.4g} to {tokens.name_of(group, token)}; use "
                f"`{{name: scaled, scale: min_max}}`"
            )
        found = []
        for row, valid in zip(score, tokens.valid, strict=True):
            weights = row[valid]
            if not bool(weights.any()):
                weights = weights + 1
            found.append(entropy(weights) / log(len(weights)) if len(weights) > 1 else 0.0)
        return tokens.features.new_tensor(found)

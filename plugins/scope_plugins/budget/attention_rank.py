"""Tokens kept by the rank of the text's attention to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field

from scope_core import Layout, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Group
from scope_plugins._fractions import fraction
from scope_plugins.saliency.rater_attention import raters


class AttentionRankSpec(ComponentSpec):
    """Drop a share of the tokens that are redundant by the rank of the attention."""

    name: Literal["attention_rank"] = "attention_rank"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose attention is read, counted from 0; at most that of the stage, ``decoder[k]``."""
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """lambda: the share of the redundant tokens to drop."""


class AttentionRank(Budget[AttentionRankSpec]):
    """More tokens for a prompt whose words look at different parts of the image, fewer where they all look alike.

    Use it inside the language model where the count should follow the question and need not be fixed in advance.

    Keeps ``N - floor(lambda (N - rank P))`` tokens, at least 1; P is the raters' attention to the tokens, mean over
    heads. The count is known only once the layer has run: plans state the upper bound, all tokens.
    Source: SparseVLM, arXiv 2410.04417, section 3.3.
    """

    adaptive = True

    @property
    def needs(self) -> frozenset[str]:
        """The same signals as the saliency `rater_attention`."""
        return frozenset(
            {f"decoder.text_attention[{self.spec.layer}]", "decoder.vision_hidden[0]", "decoder.text_hidden[0]"}
        )

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """All tokens: the upper bound."""
        return tuple(sum(span.tokens for span in group) for group in groups)

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Counts by rank; groups without text after their image keep everything."""
        attention = tokens.signal(f"decoder.text_attention[{self.spec.layer}]").mean(1).float()
        rates = raters(tokens.signal("decoder.vision_hidden[0]"), tokens.signal("decoder.text_hidden[0]"))
        refined = []
        for group, count in enumerate(counts):
            rows = attention[group][rates[group]][:, tokens.valid[group]]
            if rows.shape[0] == 0 or count == 0:
                refined.append(count)
                continue
            rank = int(torch.linalg.matrix_rank(rows))
            total = rows.shape[1]
            required = int((tokens.required & tokens.valid)[group].sum())
            refined.append(min(count, max(total - int(fraction(self.spec.scale) * (total - rank)), required, 1)))
        return tuple(refined)

"""As many tokens as the text's attention to them has rank."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

import torch
from pydantic import Field

from scope_core import Layout, VisualTokens
from scope_core.parts import Budget, ComponentSpec, Group
from scope_plugins.saliency.rater_attention import raters


class AttentionRankSpec(ComponentSpec):
    """Drop a share of the tokens that the rank says are redundant."""

    name: Literal["attention_rank"] = "attention_rank"
    layer: Annotated[int, Field(ge=0)]
    """Which decoder layer's attention, counted from 0; at most that of the stage, ``decoder[k]``."""
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """lambda: the share of the redundant tokens that goes."""


class AttentionRank(Budget[AttentionRankSpec]):
    """``N - floor(lambda (N - rank P))`` tokens, at least 1; P is the raters' attention to them, mean over heads.

    Known only once the layer has run: plans say at most all tokens. Source: SparseVLM, arXiv 2410.04417, section 3.3.
    """

    adaptive = True

    @property
    def needs(self) -> frozenset[str]:
        """As `rater_attention`."""
        return frozenset(
            {f"decoder.text_attention[{self.spec.layer}]", "decoder.vision_hidden[0]", "decoder.text_hidden[0]"}
        )

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """All tokens: the most it can be."""
        return tuple(sum(span.tokens for span in group) for group in groups)

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Counts by rank; groups without text behind them keep everything."""
        attention = tokens.signal(f"decoder.text_attention[{self.spec.layer}]").mean(1).float()
        rates = raters(tokens.signal("decoder.vision_hidden[0]"), tokens.signal("decoder.text_hidden[0]"))
        made = []
        for group, count in enumerate(counts):
            rows = attention[group][rates[group]][:, tokens.valid[group]]
            if rows.shape[0] == 0 or count == 0:
                made.append(count)
                continue
            rank = int(torch.linalg.matrix_rank(rows))
            total = rows.shape[1]
            required = int((tokens.required & tokens.valid)[group].sum())
            made.append(min(count, max(total - int(Fraction(str(self.spec.scale)) * (total - rank)), required, 1)))
        return tuple(made)

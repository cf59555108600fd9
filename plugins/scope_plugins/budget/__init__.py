"""Built-in budgets."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.budget.attention_rank import AttentionRank, AttentionRankSpec
from scope_plugins.budget.average import Average, AverageSpec
from scope_plugins.budget.iqr import Iqr, IqrSpec
from scope_plugins.budget.lookup import Lookup, LookupSpec
from scope_plugins.budget.ratio import Ratio, RatioSpec
from scope_plugins.budget.ratio_with_frame import RatioWithFrame, RatioWithFrameSpec
from scope_plugins.budget.staged import Staged, StagedSpec
from scope_plugins.budget.stepped import Stepped, SteppedSpec
from scope_plugins.budget.tokens import Tokens, TokensSpec


@hookimpl
def scope_budgets() -> Iterable[Entry]:
    """A number of tokens, or a share of them."""
    yield Entry(TokensSpec, Tokens, "a fixed number of tokens per image, tile or call")
    yield Entry(RatioSpec, Ratio, "a share of the tokens of each image, tile or call")
    yield Entry(IqrSpec, Iqr, "as many tokens as have an outlying saliency", paper="PruMerge, arXiv 2403.15388")
    yield Entry(
        RatioWithFrameSpec,
        RatioWithFrame,
        "a share of the tokens, and never less than the first frame",
        paper="EVS, arXiv 2510.14624",
    )
    yield Entry(
        StagedSpec, Staged, "a number or a share of tokens for every stage", paper="PyramidDrop, arXiv 2410.17247"
    )
    yield Entry(
        AverageSpec,
        Average,
        "so many tokens averaged over the language model's layers, stages shrinking by one factor",
        paper="PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(LookupSpec, Lookup, "counts for every stage, looked up by a number", paper="SparseVLM's release")
    yield Entry(SteppedSpec, Stepped, "a number of tokens in whole steps", paper="DART's release")
    yield Entry(
        AttentionRankSpec,
        AttentionRank,
        "as many tokens as the text's attention to them has rank",
        paper="SparseVLM, arXiv 2410.04417",
    )

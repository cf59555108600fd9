"""Built-in budgets."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_budgets() -> Iterable[Entry]:
    """A number of tokens, or a share of them."""
    yield Entry("scope_plugins.budget.tokens:Tokens", "tokens", "a fixed number of tokens per image, tile or call")
    yield Entry("scope_plugins.budget.ratio:Ratio", "ratio", "a share of the tokens of each image, tile or call")
    yield Entry(
        "scope_plugins.budget.iqr:Iqr",
        "iqr",
        "as many tokens as have an outlying saliency",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.budget.ratio_with_frame:RatioWithFrame",
        "ratio_with_frame",
        "a share of the tokens, and never less than the first frame",
        paper="EVS, arXiv 2510.14624",
    )
    yield Entry(
        "scope_plugins.budget.staged:Staged",
        "staged",
        "a number or a share of tokens for every stage",
        paper="PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(
        "scope_plugins.budget.average:Average",
        "average",
        "so many tokens averaged over the language model's layers, stages shrinking by one factor",
        paper="PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(
        "scope_plugins.budget.lookup:Lookup",
        "lookup",
        "counts for every stage, looked up by a number",
        paper="SparseVLM's release",
    )
    yield Entry(
        "scope_plugins.budget.stepped:Stepped", "stepped", "a number of tokens in whole steps", paper="DART's release"
    )
    yield Entry(
        "scope_plugins.budget.attention_rank:AttentionRank",
        "attention_rank",
        "as many tokens as the text's attention to them has rank",
        paper="SparseVLM, arXiv 2410.04417",
    )

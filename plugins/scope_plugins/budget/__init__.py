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
        "as many tokens as there are saliency outliers",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.budget.ratio_with_frame:RatioWithFrame",
        "ratio_with_frame",
        "a share of the tokens, but at least those of the first frame",
        paper="EVS, arXiv 2510.14624",
    )
    yield Entry(
        "scope_plugins.budget.staged:Staged",
        "staged",
        "one number or share of tokens for each stage",
        paper="PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(
        "scope_plugins.budget.average:Average",
        "average",
        "a number of tokens averaged over the language model's layers; each stage keeps the same share",
        paper="PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(
        "scope_plugins.budget.lookup:Lookup",
        "lookup",
        "token counts for each stage, from a table of tuned values",
        paper="SparseVLM's release",
    )
    yield Entry(
        "scope_plugins.budget.stepped:Stepped",
        "stepped",
        "a number of tokens, rounded down to a multiple of a step",
        paper="DART's release",
    )
    yield Entry(
        "scope_plugins.budget.attention_rank:AttentionRank",
        "attention_rank",
        "tokens kept by the rank of the text's attention to them",
        paper="SparseVLM, arXiv 2410.04417",
    )
    yield Entry(
        "scope_plugins.budget.measured:Measured",
        "measured",
        "as many tokens as a statistic of the image says, up to another budget",
        paper="PromPrune, arXiv 2603.14892",
    )
    yield Entry(
        "scope_plugins.budget.fitted:Fitted",
        "fitted",
        "a number of tokens averaged over the layers of the language model, by what each layer needs on a sample",
        paper="FitPrune, arXiv 2409.10197",
    )
    yield Entry(
        "scope_plugins.budget.logistic:Logistic",
        "logistic",
        "a number of tokens averaged over the layers of the language model, along a logistic curve",
        paper="AutoPrune, arXiv 2509.23931",
    )

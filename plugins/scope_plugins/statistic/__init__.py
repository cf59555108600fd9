"""Built-in statistics."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_statistics() -> Iterable[Entry]:
    """Of features, of similarities, and of a saliency."""
    yield Entry(
        "scope_plugins.statistic.spectral_entropy:SpectralEntropy",
        "spectral_entropy",
        "how evenly the features spread over directions, from 0 to 1",
        paper="PromPrune, arXiv 2603.14892",
        default=True,
    )
    yield Entry(
        "scope_plugins.statistic.effective_rank:EffectiveRank",
        "effective_rank",
        "how many directions the features spread over",
        paper="AgilePruner, arXiv 2603.01236; Roy and Vetterli, EUSIPCO 2007",
    )
    yield Entry(
        "scope_plugins.statistic.saliency_entropy:SaliencyEntropy",
        "saliency_entropy",
        "how evenly a saliency spreads over the tokens, from 0 to 1",
        paper="AgilePruner, arXiv 2603.01236",
    )
    yield Entry(
        "scope_plugins.statistic.text_information:TextInformation",
        "text_information",
        "mutual information of the prompt's text and the image, at a layer of the language model",
        paper="AutoPrune, arXiv 2509.23931",
    )
    yield Entry(
        "scope_plugins.statistic.mean_similarity:MeanSimilarity",
        "mean_similarity",
        "how alike two tokens are on average",
        paper="PruneSID, arXiv 2603.09480",
    )
    yield Entry(
        "scope_plugins.statistic.share_above:ShareAbove",
        "share_above",
        "the share of tokens whose saliency is above a threshold",
    )

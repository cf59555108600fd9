"""Built-in similarity metrics."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_similarity_metrics() -> Iterable[Entry]:
    """Similarities of features, keys, other signals or places, and combinations of similarities."""
    yield Entry(
        "scope_plugins.similarity.cosine:Cosine",
        "cosine",
        "cosine of features",
        paper="SCOPE, arXiv 2510.24214",
        default=True,
    )
    yield Entry("scope_plugins.similarity.dot:Dot", "dot", "dot product of features, optionally over sqrt(D)")
    yield Entry(
        "scope_plugins.similarity.keys_cosine:KeysCosine",
        "keys_cosine",
        "cosine of one tower layer's keys",
        paper="ToMe, arXiv 2210.09461",
    )
    yield Entry(
        "scope_plugins.similarity.signal_cosine:SignalCosine",
        "signal_cosine",
        "cosine of another signal, e.g. of the tower's hidden states",
    )
    yield Entry(
        "scope_plugins.similarity.plain_cosine:PlainCosine",
        "plain_cosine",
        "cosine of features or a signal, with the rounding of published code",
        paper="MMTok, arXiv 2508.18264; CDPruner, arXiv 2506.10967",
    )
    yield Entry("scope_plugins.similarity.spatial:Spatial", "spatial", "closeness in the token grid")
    yield Entry(
        "scope_plugins.similarity.row_softmax:RowSoftmax",
        "row_softmax",
        "softmax over each row of another similarity",
        paper="MMTok, arXiv 2508.18264",
    )
    yield Entry(
        "scope_plugins.similarity.without_negatives:WithoutNegatives",
        "without_negatives",
        "another similarity, with negative values set to 0 or shifted",
    )
    yield Entry(
        "scope_plugins.similarity.gram_squared:GramSquared",
        "gram_squared",
        "what two tokens have in common with all others, per channel",
        paper="OTPrune, arXiv 2602.20205",
    )
    yield Entry("scope_plugins.similarity.blend:Blend", "blend", "several similarities as one: weighted sum or product")
    yield Entry(
        "scope_plugins.similarity.keys_dot:KeysDot",
        "keys_dot",
        "dot product of one tower layer's keys",
        paper="ToMe, arXiv 2210.09461",
    )
    yield Entry(
        "scope_plugins.similarity.decoder_keys_cosine:DecoderKeysCosine",
        "decoder_keys_cosine",
        "cosine of keys inside the language model",
        paper="PACT, arXiv 2504.08966",
    )

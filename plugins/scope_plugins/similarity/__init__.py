"""Built-in similarity metrics."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.similarity.blend import Blend, BlendSpec
from scope_plugins.similarity.cosine import Cosine, CosineSpec
from scope_plugins.similarity.dot import Dot, DotSpec
from scope_plugins.similarity.keys_cosine import KeysCosine, KeysCosineSpec
from scope_plugins.similarity.keys_dot import KeysDot, KeysDotSpec
from scope_plugins.similarity.row_softmax import RowSoftmax, RowSoftmaxSpec
from scope_plugins.similarity.signal_cosine import SignalCosine, SignalCosineSpec
from scope_plugins.similarity.spatial import Spatial, SpatialSpec
from scope_plugins.similarity.without_negatives import WithoutNegatives, WithoutNegativesSpec


@hookimpl
def scope_similarity_metrics() -> Iterable[Entry]:
    """Of features, keys, any signal or places, and what is made of other similarities."""
    yield Entry(CosineSpec, Cosine, "cosine of features", paper="SCOPE, arXiv 2510.24214", default=True)
    yield Entry(DotSpec, Dot, "dot product of features, optionally over sqrt(D)")
    yield Entry(KeysCosineSpec, KeysCosine, "cosine of one tower layer's keys", paper="ToMe, arXiv 2210.09461")
    yield Entry(SignalCosineSpec, SignalCosine, "cosine of another signal, e.g. of the tower's hidden states")
    yield Entry(SpatialSpec, Spatial, "nearness in the token grid")
    yield Entry(
        RowSoftmaxSpec, RowSoftmax, "softmax over each row of another similarity", paper="MMTok, arXiv 2508.18264"
    )
    yield Entry(WithoutNegativesSpec, WithoutNegatives, "another similarity, its negative values cut off or moved up")
    yield Entry(BlendSpec, Blend, "several similarities as one: weighted sum or product")
    yield Entry(KeysDotSpec, KeysDot, "dot product of one tower layer's keys", paper="ToMe, arXiv 2210.09461")

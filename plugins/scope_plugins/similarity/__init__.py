"""Built-in similarity metrics."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.similarity.cosine import Cosine, CosineSpec
from scope_plugins.similarity.dot import Dot, DotSpec


@hookimpl
def scope_similarity_metrics() -> Iterable[Entry]:
    """Cosine and dot product of features."""
    yield Entry(CosineSpec, Cosine, "cosine of features", paper="SCOPE, arXiv 2510.24214", default=True)
    yield Entry(DotSpec, Dot, "dot product of features, optionally over sqrt(D)")

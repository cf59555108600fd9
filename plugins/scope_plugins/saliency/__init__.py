"""Built-in saliency sources."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.saliency.cls_attention import ClsAttention, ClsAttentionSpec
from scope_plugins.saliency.feature_norm import FeatureNorm, FeatureNormSpec
from scope_plugins.saliency.random import Random, RandomSpec
from scope_plugins.saliency.received_attention import ReceivedAttention, ReceivedAttentionSpec
from scope_plugins.saliency.uniform import Uniform, UniformSpec


@hookimpl
def scope_saliency_sources() -> Iterable[Entry]:
    """Attention from CLS, received attention, and sources that read no signal."""
    yield Entry(
        ClsAttentionSpec,
        ClsAttention,
        "attention from the tower's CLS token to each patch",
        paper="SCOPE, arXiv 2510.24214; FasterVLM, arXiv 2412.01818",
        default=True,
    )
    yield Entry(
        ReceivedAttentionSpec,
        ReceivedAttention,
        "attention each patch receives from all tokens (towers without CLS)",
        paper="HiPrune, arXiv 2508.00553",
    )
    yield Entry(FeatureNormSpec, FeatureNorm, "norm of each token's features; reads no signal")
    yield Entry(UniformSpec, Uniform, "the same for every token")
    yield Entry(RandomSpec, Random, "seeded random numbers, the control")

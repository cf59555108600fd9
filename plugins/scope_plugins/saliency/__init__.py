"""Built-in saliency sources."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.saliency.blend import Blend, BlendSpec
from scope_plugins.saliency.cls_attention import ClsAttention, ClsAttentionSpec
from scope_plugins.saliency.feature_norm import FeatureNorm, FeatureNormSpec
from scope_plugins.saliency.joint_attention import JointAttention, JointAttentionSpec
from scope_plugins.saliency.key_norm import KeyNorm, KeyNormSpec
from scope_plugins.saliency.prompt_attention import PromptAttention, PromptAttentionSpec
from scope_plugins.saliency.random import Random, RandomSpec
from scope_plugins.saliency.rater_attention import RaterAttention, RaterAttentionSpec
from scope_plugins.saliency.received_attention import ReceivedAttention, ReceivedAttentionSpec
from scope_plugins.saliency.scaled import Scaled, ScaledSpec
from scope_plugins.saliency.similarity_variance import SimilarityVariance, SimilarityVarianceSpec
from scope_plugins.saliency.temporal_difference import TemporalDifference, TemporalDifferenceSpec
from scope_plugins.saliency.text_relevance import TextRelevance, TextRelevanceSpec
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
    yield Entry(
        PromptAttentionSpec,
        PromptAttention,
        "attention inside the language model from the prompt's last token, or from all of it",
        paper="FastV, arXiv 2403.06764; PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(
        RaterAttentionSpec,
        RaterAttention,
        "attention inside the language model from the text tokens closest to the image",
        paper="SparseVLM, arXiv 2410.04417",
    )
    yield Entry(FeatureNormSpec, FeatureNorm, "norm of each token's features; reads no signal")
    yield Entry(UniformSpec, Uniform, "the same for every token")
    yield Entry(RandomSpec, Random, "seeded random numbers, the control")
    yield Entry(BlendSpec, Blend, "several sources as one: weighted sum, product of powers, largest or smallest")
    yield Entry(ScaledSpec, Scaled, "another source on a stated scale: min-max, rank, or divided by its maximum")
    yield Entry(
        TextRelevanceSpec, TextRelevance, "similarity of each patch to the text", paper="CDPruner, arXiv 2506.10967"
    )
    yield Entry(
        TemporalDifferenceSpec,
        TemporalDifference,
        "difference to the token at the same place of the frame before",
        paper="EVS, arXiv 2510.14624",
    )
    yield Entry(KeyNormSpec, KeyNorm, "norm of each token's keys", paper="DART, arXiv 2502.11494")
    yield Entry(
        JointAttentionSpec,
        JointAttention,
        "attention from CLS as one head of the layer's full width would pay it",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        SimilarityVarianceSpec,
        SimilarityVariance,
        "variance of a token's similarities, by itself or added to another saliency",
        paper="HoloV, arXiv 2510.02912",
    )

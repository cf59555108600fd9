"""Built-in saliency sources."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_saliency_sources() -> Iterable[Entry]:
    """Attention in the tower or the language model, other signals, and combinations of sources."""
    yield Entry(
        "scope_plugins.saliency.cls_attention:ClsAttention",
        "cls_attention",
        "attention from the tower's CLS token to each patch",
        paper="SCOPE, arXiv 2510.24214; FasterVLM, arXiv 2412.01818",
        default=True,
    )
    yield Entry(
        "scope_plugins.saliency.received_attention:ReceivedAttention",
        "received_attention",
        "attention that each patch receives from all tokens (for towers without CLS)",
        paper="HiPrune, arXiv 2508.00553",
    )
    yield Entry(
        "scope_plugins.saliency.prompt_attention:PromptAttention",
        "prompt_attention",
        "attention inside the language model from the prompt's last token, or from all its tokens",
        paper="FastV, arXiv 2403.06764; PyramidDrop, arXiv 2410.17247",
    )
    yield Entry(
        "scope_plugins.saliency.rater_attention:RaterAttention",
        "rater_attention",
        "attention inside the language model from the text tokens closest to the image",
        paper="SparseVLM, arXiv 2410.04417",
    )
    yield Entry(
        "scope_plugins.saliency.feature_norm:FeatureNorm",
        "feature_norm",
        "norm of each token's features; reads no signal",
    )
    yield Entry("scope_plugins.saliency.uniform:Uniform", "uniform", "the same for every token")
    yield Entry("scope_plugins.saliency.random:Random", "random", "seeded random numbers, for the random control")
    yield Entry(
        "scope_plugins.saliency.blend:Blend",
        "blend",
        "several sources as one: weighted sum, product of powers, largest or smallest",
    )
    yield Entry(
        "scope_plugins.saliency.scaled:Scaled",
        "scaled",
        "another source on a stated scale: min-max, rank, or divided by its maximum",
    )
    yield Entry(
        "scope_plugins.saliency.prompt_relevance:PromptRelevance",
        "prompt_relevance",
        "similarity of each token to the prompt's words, in the language model's own space",
        paper="MMTok, arXiv 2508.18264",
    )
    yield Entry(
        "scope_plugins.saliency.text_relevance:TextRelevance",
        "text_relevance",
        "similarity of each patch to the text",
        paper="CDPruner, arXiv 2506.10967",
    )
    yield Entry(
        "scope_plugins.saliency.temporal_difference:TemporalDifference",
        "temporal_difference",
        "difference from the token at the same place in the previous frame",
        paper="EVS, arXiv 2510.14624",
    )
    yield Entry(
        "scope_plugins.saliency.key_norm:KeyNorm",
        "key_norm",
        "norm of each token's keys",
        paper="DART, arXiv 2502.11494",
    )
    yield Entry(
        "scope_plugins.saliency.joint_attention:JointAttention",
        "joint_attention",
        "attention from CLS, computed as by a single head of the layer's full width",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.saliency.similarity_variance:SimilarityVariance",
        "similarity_variance",
        "variance of a token's similarities, by itself or added to another saliency",
        paper="HoloV, arXiv 2510.02912",
    )
    yield Entry(
        "scope_plugins.saliency.word_relevance:WordRelevance",
        "word_relevance",
        "similarity of each patch to the words that point somewhere",
        paper="EADP, arXiv 2607.02484",
    )
    yield Entry(
        "scope_plugins.saliency.graph_propagation:GraphPropagation",
        "graph_propagation",
        "another source passed on along a graph of similar tokens",
        paper="G-Prune, AAAI 2025",
    )
    yield Entry(
        "scope_plugins.saliency.reconstruction_error:ReconstructionError",
        "reconstruction_error",
        "what a few basis tokens cannot express of each token; reads no signal",
        paper="ApET, arXiv 2602.19870",
    )
    yield Entry(
        "scope_plugins.saliency.smoothed:Smoothed",
        "smoothed",
        "another source, blurred over the token grid",
        paper="EADP, arXiv 2607.02484",
    )
    yield Entry(
        "scope_plugins.saliency.debiased:Debiased",
        "debiased",
        "another source divided by its mean at each place of the grid",
        paper="D2Pruner, arXiv 2512.19443",
    )
    yield Entry(
        "scope_plugins.saliency.weighted_heads:WeightedHeads",
        "weighted_heads",
        "attention with a weight for each head, from a calibration file",
        paper="HAWK, arXiv 2604.07812",
    )
    yield Entry(
        "scope_plugins.saliency.head_relevance:HeadRelevance",
        "head_relevance",
        "fit of each visual token to the text by query and key, with a weight for each head",
        paper="HAWK, arXiv 2604.07812",
    )
    yield Entry(
        "scope_plugins.saliency.hidden_change:HiddenChange",
        "hidden_change",
        "change of each token between two layers of the language model",
        paper="V2Drop, arXiv 2509.01552",
    )
    yield Entry(
        "scope_plugins.saliency.information_gain:InformationGain",
        "information_gain",
        "attention from the question against that from the first token after the image",
        paper="PriorTR, ECCV 2026",
    )
    yield Entry(
        "scope_plugins.saliency.content_attention:ContentAttention",
        "content_attention",
        "attention inside the language model without positions",
        paper="FEATHER, ICCV 2025",
    )
    yield Entry(
        "scope_plugins.saliency.value_relevance:ValueRelevance",
        "value_relevance",
        "similarity of values to those of the text, inside the language model",
        paper="IVC-Prune, arXiv 2602.03060",
    )
    yield Entry(
        "scope_plugins.saliency.rotary_axis:RotaryAxis",
        "rotary_axis",
        "how little, or how nearly by 90 degrees, the rotary embedding turns each token",
        paper="IVC-Prune, arXiv 2602.03060",
    )
    yield Entry(
        "scope_plugins.saliency.global_query:GlobalQuery",
        "global_query",
        "attention from the mean query of the visual tokens, times the token's length",
        paper="PACT, arXiv 2504.08966",
    )
    yield Entry(
        "scope_plugins.saliency.density:Density",
        "density",
        "how many tokens are like each token",
        paper="PACT, arXiv 2504.08966",
    )
    yield Entry(
        "scope_plugins.saliency.spectral_change:SpectralChange",
        "spectral_change",
        "change of the detail around each token between two layers of the language model",
        paper="CLSE, arXiv 2606.24165",
    )
    yield Entry(
        "scope_plugins.saliency.projector_sensitivity:ProjectorSensitivity",
        "projector_sensitivity",
        "change of the projector's output under small changes of each token",
        paper="ZOO-Prune, arXiv 2509.24837",
    )
    yield Entry(
        "scope_plugins.saliency.mean_distance:MeanDistance",
        "mean_distance",
        "cosine distance from the mean of the group",
        paper="V-CAST, arXiv 2603.27650",
    )
    yield Entry(
        "scope_plugins.saliency.per_frame:PerFrame",
        "per_frame",
        "another source, inside each frame of a video by itself",
        paper="V-CAST, arXiv 2603.27650",
    )
    yield Entry(
        "scope_plugins.saliency.transport:Transport",
        "transport",
        "minus the cost of moving each token to the outputs of its layer, by optimal transport",
        paper="TopV, arXiv 2503.18278",
    )
    yield Entry(
        "scope_plugins.saliency.overview_attention:OverviewAttention",
        "overview_attention",
        "another source, read on the overview of an image and interpolated to its tiles",
        paper="GlobalCom2, arXiv 2501.05179",
    )
    yield Entry(
        "scope_plugins.saliency.overview_share:OverviewShare",
        "overview_share",
        "a weight for each tile, by the share of the overview's attention that lies on its area",
        paper="GlobalCom2, arXiv 2501.05179",
    )
    yield Entry(
        "scope_plugins.saliency.frame_curvature:FrameCurvature",
        "frame_curvature",
        "how sharply the path of a video's frames turns at each frame",
        paper="V-CAST, arXiv 2603.27650",
    )
    yield Entry(
        "scope_plugins.saliency.gaussian_contrast:GaussianContrast",
        "gaussian_contrast",
        "Gaussian similarity to the centres of video and frame, negated",
        paper="VidCom2, arXiv 2505.14454",
    )
    yield Entry(
        "scope_plugins.saliency.window_difference:WindowDifference",
        "window_difference",
        "difference from the token at the same place in an earlier frame of a window",
        paper="DyCoke, arXiv 2411.15024",
    )
    yield Entry(
        "scope_plugins.saliency.tree_share:TreeShare",
        "tree_share",
        "one for each tree of tokens that look alike from frame to frame, shared by its tokens",
        paper="HoliTom, arXiv 2505.21334",
    )

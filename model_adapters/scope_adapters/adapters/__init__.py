"""Built-in adapters."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_adapters() -> Iterable[Entry]:
    """The adapters of this package: models of Hugging Face transformers and of the original LLaVA codebases."""
    yield Entry(
        "scope_adapters.adapters.llava:Llava",
        "llava",
        "LLaVA-1.5 on Hugging Face transformers >= 4.52",
        paper="LLaVA-1.5, arXiv 2310.03744",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.llava_next:LlavaNext",
        "llava_next",
        "LLaVA-NeXT (1.6) on Hugging Face transformers >= 4.52",
        paper="LLaVA-NeXT, 2024",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.llava_next_video:LlavaNextVideo",
        "llava_next_video",
        "LLaVA-NeXT-Video on Hugging Face transformers >= 4.52, images and videos",
        paper="LLaVA-NeXT-Video, 2024",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.llava_onevision:LlavaOnevision",
        "llava_onevision",
        "LLaVA-OneVision on Hugging Face transformers >= 4.52, images and videos",
        paper="LLaVA-OneVision, arXiv 2408.03326",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.video_llava:VideoLlava",
        "video_llava",
        "Video-LLaVA on Hugging Face transformers that name its images pixel_values, images and videos",
        paper="Video-LLaVA, arXiv 2311.10122",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.qwen2_vl:Qwen2VL",
        "qwen2_vl",
        "Qwen2-VL on Hugging Face transformers >= 4.52, images and videos",
        paper="Qwen2-VL, arXiv 2409.12191",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.qwen2_5_vl:Qwen25VL",
        "qwen2_5_vl",
        "Qwen2.5-VL on Hugging Face transformers >= 4.52, images and videos",
        paper="Qwen2.5-VL, arXiv 2502.13923",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.qwen3_vl:Qwen3VL",
        "qwen3_vl",
        "Qwen3-VL on Hugging Face transformers >= 4.57, images and videos",
        paper="Qwen3-VL, arXiv 2511.21631",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.qwen3_vl_moe:Qwen3VLMoe",
        "qwen3_vl_moe",
        "Qwen3-VL-MoE on Hugging Face transformers >= 4.57, images and videos",
        paper="Qwen3-VL, arXiv 2511.21631",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.qwen3_5:Qwen35",
        "qwen3_5",
        "Qwen3.5 on Hugging Face transformers that have it, images and videos",
        paper="Qwen3.5, 2026",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.qwen3_5_moe:Qwen35Moe",
        "qwen3_5_moe",
        "Qwen3.5-MoE on Hugging Face transformers that have it, images and videos",
        paper="Qwen3.5, 2026",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.vipllava:VipLlava",
        "vipllava",
        "ViP-LLaVA on Hugging Face transformers >= 4.52",
        paper="ViP-LLaVA, arXiv 2312.00784",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.paligemma:PaliGemma",
        "paligemma",
        "PaliGemma 1 and 2 on Hugging Face transformers >= 4.52",
        paper="PaliGemma, arXiv 2407.07726",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.internvl:InternVL",
        "internvl",
        "InternVL 2.5, 3 and 3.5 on Hugging Face transformers >= 4.52",
        paper="InternVL3, arXiv 2504.10479",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.idefics3:Idefics3",
        "idefics3",
        "Idefics3 on Hugging Face transformers >= 4.52",
        paper="Idefics3, arXiv 2408.12637",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.smolvlm:SmolVLM",
        "smolvlm",
        "SmolVLM 1 and 2 on Hugging Face transformers >= 4.52",
        paper="SmolVLM, arXiv 2504.05299",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.gemma3:Gemma3",
        "gemma3",
        "Gemma 3 on Hugging Face transformers >= 4.52",
        paper="Gemma 3, arXiv 2503.19786",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.llava_original:LlavaOriginal",
        "llava_original",
        "LLaVA-1.5 and 1.6 in the original codebase (haotian-liu/LLaVA), LLaVA-NeXT's repository, Bunny",
        paper="LLaVA-1.5, arXiv 2310.03744",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.tinyllava:TinyLlava",
        "tinyllava",
        "TinyLLaVA in its own codebase (TinyLLaVA_Factory)",
        paper="TinyLLaVA, arXiv 2402.14289",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.mistral3:Mistral3",
        "mistral3",
        "Mistral 3 (Small 3.1) on Hugging Face transformers >= 4.52",
        paper="Pixtral 12B, arXiv 2410.07073",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        "scope_adapters.adapters.generic:Generic",
        "generic",
        "any other model on Hugging Face transformers >= 5.18, if a trial with one blank image proves its geometry",
        requires=("scope-core[hf]",),
    )

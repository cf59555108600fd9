"""Built-in adapters."""

from __future__ import annotations

from collections.abc import Iterable

from scope_adapters.adapters.gemma3 import Gemma3, Gemma3Spec
from scope_adapters.adapters.idefics3 import Idefics3, Idefics3Spec
from scope_adapters.adapters.internvl import InternVL, InternVLSpec
from scope_adapters.adapters.llava import Llava, LlavaSpec
from scope_adapters.adapters.llava_next import LlavaNext, LlavaNextSpec
from scope_adapters.adapters.llava_onevision import LlavaOnevision, LlavaOnevisionSpec
from scope_adapters.adapters.llava_original import LlavaOriginal, LlavaOriginalSpec
from scope_adapters.adapters.mistral3 import Mistral3, Mistral3Spec
from scope_adapters.adapters.paligemma import PaliGemma, PaliGemmaSpec
from scope_adapters.adapters.qwen2_5_vl import Qwen25VL, Qwen25VLSpec
from scope_adapters.adapters.qwen2_vl import Qwen2VL, Qwen2VLSpec
from scope_adapters.adapters.qwen3_vl import Qwen3VL, Qwen3VLSpec
from scope_adapters.adapters.smolvlm import SmolVLM, SmolVLMSpec
from scope_adapters.adapters.tinyllava import TinyLlava, TinyLlavaSpec
from scope_adapters.adapters.vipllava import VipLlava, VipLlavaSpec
from scope_core import Entry, hookimpl


@hookimpl
def scope_adapters() -> Iterable[Entry]:
    """Models on Hugging Face transformers."""
    yield Entry(
        LlavaSpec,
        Llava,
        "LLaVA-1.5 on Hugging Face transformers >= 4.52",
        paper="LLaVA-1.5, arXiv 2310.03744",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        LlavaNextSpec,
        LlavaNext,
        "LLaVA-NeXT (1.6) on Hugging Face transformers >= 4.52",
        paper="LLaVA-NeXT, 2024",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        LlavaOnevisionSpec,
        LlavaOnevision,
        "LLaVA-OneVision on Hugging Face transformers >= 4.52, images",
        paper="LLaVA-OneVision, arXiv 2408.03326",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        Qwen2VLSpec,
        Qwen2VL,
        "Qwen2-VL on Hugging Face transformers >= 4.52, images",
        paper="Qwen2-VL, arXiv 2409.12191",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        Qwen25VLSpec,
        Qwen25VL,
        "Qwen2.5-VL on Hugging Face transformers >= 4.52, images",
        paper="Qwen2.5-VL, arXiv 2502.13923",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        Qwen3VLSpec,
        Qwen3VL,
        "Qwen3-VL on Hugging Face transformers >= 4.57, images",
        paper="Qwen3-VL, arXiv 2511.21631",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        VipLlavaSpec,
        VipLlava,
        "ViP-LLaVA on Hugging Face transformers >= 4.52",
        paper="ViP-LLaVA, arXiv 2312.00784",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        PaliGemmaSpec,
        PaliGemma,
        "PaliGemma 1 and 2 on Hugging Face transformers >= 4.52",
        paper="PaliGemma, arXiv 2407.07726",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        InternVLSpec,
        InternVL,
        "InternVL 2.5, 3 and 3.5 on Hugging Face transformers >= 4.52",
        paper="InternVL3, arXiv 2504.10479",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        Idefics3Spec,
        Idefics3,
        "Idefics3 on Hugging Face transformers >= 4.52",
        paper="Idefics3, arXiv 2408.12637",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        SmolVLMSpec,
        SmolVLM,
        "SmolVLM 1 and 2 on Hugging Face transformers >= 4.52",
        paper="SmolVLM, arXiv 2504.05299",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        Gemma3Spec,
        Gemma3,
        "Gemma 3 on Hugging Face transformers >= 4.52",
        paper="Gemma 3, arXiv 2503.19786",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        LlavaOriginalSpec,
        LlavaOriginal,
        "LLaVA-1.5 and 1.6 in the original codebase (haotian-liu/LLaVA), LLaVA-NeXT's repository, Bunny",
        paper="LLaVA-1.5, arXiv 2310.03744",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        TinyLlavaSpec,
        TinyLlava,
        "TinyLLaVA in its own codebase (TinyLLaVA_Factory)",
        paper="TinyLLaVA, arXiv 2402.14289",
        requires=("scope-core[hf]",),
    )
    yield Entry(
        Mistral3Spec,
        Mistral3,
        "Mistral 3 (Small 3.1) on Hugging Face transformers >= 4.52",
        paper="Pixtral 12B, arXiv 2410.07073",
        requires=("scope-core[hf]",),
    )

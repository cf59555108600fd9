"""Common checkpoints on the Hugging Face hub, as data. Licences are those of the weights, by their model cards.

Licence and number of parameters are empty where no model card was at hand. None was loaded for the tests, which run on
small models of the same classes. The suggested spec is SCOPE if the tower has a CLS token, a variant without CLS
attention if it has none, and a recipe without attention if nothing reads the tower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scope_core.adapters import ZooEntry


@dataclass(frozen=True)
class Family:
    """The data that the checkpoints of one model share.

    Attributes:
        adapter: Their adapter.
        recipe: Suggested spec, in short.
        paper: Paper of the model.
        requires: Further packages that the processor needs, most of them for videos.
    """

    adapter: str
    recipe: str
    paper: str
    requires: tuple[str, ...] = ()


VIDEO = ("torchvision",)

LLAVA = Family("llava", "scope@64", "LLaVA-1.5, arXiv 2310.03744")
VIP = Family("vipllava", "scope@64", "ViP-LLaVA, arXiv 2312.00784")
NEXT = Family("llava_next", "scope@160", "LLaVA-NeXT, 2024")
ONEVISION = Family("llava_onevision", "scope@no_cls@160", "LLaVA-OneVision, arXiv 2408.03326", requires=VIDEO)
PALIGEMMA = Family("paligemma", "scope@no_cls@64", "PaliGemma, arXiv 2407.07726")
GEMMA3 = Family("gemma3", "scope@no_cls@64", "Gemma 3, arXiv 2503.19786")
INTERNVL = Family("internvl", "scope@25%", "InternVL3, arXiv 2504.10479", requires=VIDEO)
IDEFICS = Family("idefics3", "scope@no_cls@25%", "Idefics3, arXiv 2408.12637")
SMOLVLM = Family("smolvlm", "scope@no_cls@25%", "SmolVLM, arXiv 2504.05299", requires=(*VIDEO, "num2words"))
QWEN2 = Family("qwen2_vl", "scope@no_cls@25%", "Qwen2-VL, arXiv 2409.12191", requires=VIDEO)
QWEN25 = Family("qwen2_5_vl", "scope@no_cls@25%", "Qwen2.5-VL, arXiv 2502.13923", requires=VIDEO)
QWEN3 = Family("qwen3_vl", "scope@no_cls@25%", "Qwen3-VL, arXiv 2511.21631", requires=VIDEO)
QWEN3_MOE = Family("qwen3_vl_moe", "scope@no_cls@25%", "Qwen3-VL, arXiv 2511.21631", requires=VIDEO)
QWEN35 = Family("qwen3_5", "scope@no_cls@25%", "Qwen3.5, 2026", requires=VIDEO)
QWEN35_MOE = Family("qwen3_5_moe", "scope@no_cls@25%", "Qwen3.5, 2026", requires=VIDEO)
MISTRAL3 = Family("mistral3", "divprune@25%", "Pixtral 12B, arXiv 2410.07073")
AYA = Family("generic", "scope@no_cls@25%", "Aya Vision, arXiv 2505.08751")
GLM = Family("generic", "scope@no_cls@25%", "GLM-4.1V-Thinking, arXiv 2507.01006", requires=VIDEO)
GEMMA4 = Family("generic", "divprune@25%", "Gemma 4, 2026", requires=VIDEO)
MOLMO2 = Family("generic", "divprune@25%", "Molmo2, arXiv 2601.10611", requires=VIDEO)
LFM2 = Family("generic", "divprune@25%", "LFM2-VL, 2025")
MINICPM = Family("generic", "divprune@25%", "MiniCPM-V 4.6, 2026", requires=VIDEO)
KIMI = Family("generic", "divprune@25%", "Kimi K2.6, 2026", requires=VIDEO)

APACHE, LLAMA2, GEMMA = "Apache-2.0", "Llama 2", "Gemma terms"
INTERN = "MIT, its Qwen2.5 part Apache-2.0"

CHECKPOINTS: tuple[tuple[str, str, str, str, str, Family], ...] = (
    ("llava-1.5-7b", "llava-hf/llava-1.5-7b-hf", "LLaVA-1.5 7B", LLAMA2, "7.1B", LLAVA),
    ("llava-1.5-13b", "llava-hf/llava-1.5-13b-hf", "LLaVA-1.5 13B", LLAMA2, "13.4B", LLAVA),
    ("vip-llava-7b", "llava-hf/vip-llava-7b-hf", "ViP-LLaVA 7B", LLAMA2, "7.1B", VIP),
    ("llava-next-vicuna-7b", "llava-hf/llava-v1.6-vicuna-7b-hf", "LLaVA-NeXT 7B on Vicuna", LLAMA2, "7.1B", NEXT),
    ("llava-next-vicuna-13b", "llava-hf/llava-v1.6-vicuna-13b-hf", "LLaVA-NeXT 13B on Vicuna", LLAMA2, "13.4B", NEXT),
    ("llava-next-mistral-7b", "llava-hf/llava-v1.6-mistral-7b-hf", "LLaVA-NeXT 7B on Mistral", APACHE, "7.6B", NEXT),
    ("llava-onevision-0.5b", "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "OneVision 0.5B", APACHE, "0.9B", ONEVISION),
    ("llava-onevision-7b", "llava-hf/llava-onevision-qwen2-7b-ov-hf", "OneVision 7B", APACHE, "8.0B", ONEVISION),
    ("paligemma-3b-224", "google/paligemma-3b-mix-224", "PaliGemma 3B at 224 px", GEMMA, "2.9B", PALIGEMMA),
    ("paligemma2-3b-224", "google/paligemma2-3b-mix-224", "PaliGemma 2 3B at 224 px", GEMMA, "3.0B", PALIGEMMA),
    ("gemma-3-4b", "google/gemma-3-4b-it", "Gemma 3 4B", GEMMA, "4.3B", GEMMA3),
    ("internvl3-1b", "OpenGVLab/InternVL3-1B-hf", "InternVL3 1B", INTERN, "0.9B", INTERNVL),
    ("internvl3-8b", "OpenGVLab/InternVL3-8B-hf", "InternVL3 8B", INTERN, "7.9B", INTERNVL),
    ("idefics3-8b", "HuggingFaceM4/Idefics3-8B-Llama3", "Idefics3 8B", APACHE, "8.5B", IDEFICS),
    ("smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct", "SmolVLM 256M", APACHE, "256M", IDEFICS),
    ("smolvlm-2.2b", "HuggingFaceTB/SmolVLM-Instruct", "SmolVLM 2.2B", APACHE, "2.2B", IDEFICS),
    ("smolvlm2-2.2b", "HuggingFaceTB/SmolVLM2-2.2B-Instruct", "SmolVLM2 2.2B", APACHE, "2.2B", SMOLVLM),
    ("qwen2-vl-2b", "Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL 2B", APACHE, "2.2B", QWEN2),
    ("qwen2-vl-7b", "Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL 7B", APACHE, "8.3B", QWEN2),
    ("qwen2.5-vl-3b", "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL 3B", "Qwen Research, non-commercial", "3.8B", QWEN25),
    ("qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL 7B", APACHE, "8.3B", QWEN25),
    ("qwen3-vl-4b", "Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL 4B", APACHE, "4.4B", QWEN3),
    ("qwen3-vl-8b", "Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL 8B", APACHE, "8.8B", QWEN3),
    ("qwen3-vl-30b-a3b", "Qwen/Qwen3-VL-30B-A3B-Instruct", "Qwen3-VL 30B, 3B active", APACHE, "31.1B", QWEN3_MOE),
    ("qwen3.5-27b", "Qwen/Qwen3.5-27B", "Qwen3.5 27B", "", "28B", QWEN35),
    ("qwen3.5-35b-a3b", "Qwen/Qwen3.5-35B-A3B", "Qwen3.5 35B, 3B active", "", "", QWEN35_MOE),
    ("mistral-small-3.1", "mistralai/Mistral-Small-3.1-24B-Instruct-2503", "Small 3.1", APACHE, "24B", MISTRAL3),
    ("aya-vision-8b", "CohereLabs/aya-vision-8b", "Aya Vision 8B", "CC-BY-NC-4.0", "8.6B", AYA),
    ("glm-4.1v-9b-thinking", "zai-org/GLM-4.1V-9B-Thinking", "GLM-4.1V 9B Thinking", "MIT", "", GLM),
    ("gemma-4-e2b", "google/gemma-4-E2B-it", "Gemma 4 E2B", APACHE, "", GEMMA4),
    ("gemma-4-31b", "google/gemma-4-31B-it", "Gemma 4 31B", APACHE, "31B", GEMMA4),
    ("molmo2-8b", "allenai/Molmo2-8B", "Molmo2 8B", APACHE, "", MOLMO2),
    ("lfm2-vl-1.6b", "LiquidAI/LFM2-VL-1.6B", "LFM2-VL 1.6B", "LFM Open License v1.0", "1.6B", LFM2),
    ("minicpm-v-4.6", "openbmb/MiniCPM-V-4.6", "MiniCPM-V 4.6", "", "1.3B", MINICPM),
    ("kimi-k2.6", "moonshotai/Kimi-K2.6", "Kimi K2.6, a mixture of experts", "", "", KIMI),
)
"""Name, hub id, summary, licence, number of parameters, family."""


def entries() -> Iterator[ZooEntry]:
    """One entry for each checkpoint."""
    for name, source, summary, licence, parameters, family in CHECKPOINTS:
        yield ZooEntry(
            name,
            "model",
            "scope_adapters.zoo.hub:load_model",
            source,
            summary,
            licence=licence,
            parameters=parameters,
            recipe=family.recipe,
            adapter=family.adapter,
            paper=family.paper,
            requires=("scope-core[hf]", *family.requires),
            cached="scope_adapters.zoo.cached:hub",
        )

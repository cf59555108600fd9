"""Registration in vLLM, in each of its processes, of architectures with names of their own.

With a name of its own, a missing plugin is an error when the engine starts. Under vLLM's name, the engine would
silently prune nothing.
"""

from __future__ import annotations

ARCHITECTURES = {
    "llava": "ScopeLlavaForConditionalGeneration",
    "llava_next": "ScopeLlavaNextForConditionalGeneration",
    "llava_onevision": "ScopeLlavaOnevisionForConditionalGeneration",
    "internvl": "ScopeInternVLForConditionalGeneration",
    "qwen2_vl": "ScopeQwen2VLForConditionalGeneration",
    "qwen2_5_vl": "ScopeQwen25VLForConditionalGeneration",
    "qwen3_vl": "ScopeQwen3VLForConditionalGeneration",
}
"""The architecture for each ``model_type``; its module in this package has the name of the type."""


def register() -> None:
    """Register the architectures: the entry point ``vllm.general_plugins``. May run often; imports no torch."""
    from vllm import ModelRegistry

    for module, name in ARCHITECTURES.items():
        ModelRegistry.register_model(name, f"{__package__}.{module}:{name}")

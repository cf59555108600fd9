"""What vLLM runs in each of its processes: our architectures are added beside its own, under names of our own.

A name of our own makes a missing plugin an error when the engine starts. Under vLLM's own name it would be an engine
that silently prunes nothing.
"""

from __future__ import annotations

ARCHITECTURES = {
    "llava": "ScopeLlavaForConditionalGeneration",
    "llava_next": "ScopeLlavaNextForConditionalGeneration",
}
"""Our architecture for each ``model_type``; it lives in the module of this package that is called like the type."""


def register() -> None:
    """The entry point in ``vllm.general_plugins``. May run many times; imports neither torch nor any model."""
    from vllm import ModelRegistry

    for module, name in ARCHITECTURES.items():
        ModelRegistry.register_model(name, f"{__package__}.{module}:{name}")

"""The original LLaVA codebase (haotian-liu/LLaVA, 1.5 and 1.6) and forks that kept its names. It is not imported.

Tested: the package ``llava-torch`` 1.2.2.post1 with the versions it pins, on tiny models of its classes for Llama and
Mistral; see docs/embed.md. Not tested: published checkpoints, FSDP, quantised loading.
"""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.spliced import Spliced
from scope_core.parts import ComponentSpec


class LlavaOriginalSpec(ComponentSpec):
    """LLaVA-1.5 and 1.6 in the original codebase."""

    name: Literal["llava_original"] = "llava_original"
    newlines: Literal["keep", "drop", "keep_if_row_kept"] = "keep"
    """The treatment of ``spatial_unpad``'s newline tokens, which are not candidates and not counted in the budget."""


class LlavaOriginal(Spliced[LlavaOriginalSpec]):
    """CLIP or SigLIP tower in a wrapper, and ``mm_projector``. Also LLaVA-NeXT's repository and Bunny, for images.

    `Session.positions` and ``expand`` count along the prompt with its images spliced in. Prompts are cut at
    ``tokenizer_model_max_length`` after pruning; ``max_length`` in the generation config counts the shortened prompt.
    """

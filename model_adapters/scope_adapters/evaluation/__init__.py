"""lmms-eval: benchmarks of a pruned LLaVA, through lmms-eval's own models.

lmms-eval finds `manifests` through the entry-point group ``lmms_eval.models``:

    lmms-eval --model scope_llava_hf --model_args pretrained=llava-hf/llava-1.5-7b-hf,pruner=scope@64 --tasks pope
"""

from __future__ import annotations

from typing import Any


def manifests() -> Any:
    """The models that this package adds to lmms-eval: `scope_llava_hf`, simple and chat."""
    from lmms_eval.models.registry_v2 import ModelManifest

    home = f"{__name__}.llava_hf"
    return ModelManifest(
        model_id="scope_llava_hf",
        simple_class_path=f"{home}.ScopeLlavaHf",
        chat_class_path=f"{home}.ScopeLlavaHfChat",
    )

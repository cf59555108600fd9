"""lmms-eval: benchmarks of a pruned model, through lmms-eval's own LLaVA and Qwen-VL.

lmms-eval finds `manifests` through the entry-point group ``lmms_eval.models``:

    lmms-eval --model scope_llava_hf --model_args pretrained=llava-hf/llava-1.5-7b-hf,pruner=scope@64 --tasks pope
"""

from __future__ import annotations

from typing import Any


def manifests() -> Any:
    """The models that this package adds to lmms-eval, e.g. `scope_llava_hf` and `scope_qwen2_5_vl`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    from scope_adapters.evaluation.models import MODELS

    home = f"{__name__}.models"
    return [
        ModelManifest(
            model_id=name,
            simple_class_path=f"{home}.{simple}",
            chat_class_path=None if chat is None else f"{home}.{chat}",
        )
        for name, (simple, chat) in MODELS.items()
    ]

"""The table of all image-text-to-text types of the installed transformers, and the adapter that serves each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from scope_adapters.compat.signatures import parameters, required
from scope_core import Registry, default_registry


@dataclass(frozen=True)
class ModelType:
    """A type of model.

    Attributes:
        name: ``config.model_type``.
        model: Name of its class in transformers.
        adapter: Name of the adapter that serves it; "generic" if none is written for it; empty if none can.
        why: The reason why none can; empty if one can.
        tested: True if the conformance kit is run on a tiny model of this type.
    """

    name: str
    model: str
    adapter: str
    why: str = ""
    tested: bool = False


def model_types(registry: Registry | None = None, *, tested: Collection[str] = ()) -> list[ModelType]:
    """The types, sorted by name. Reads classes and default configs; builds no model.

    Types under "generic" have what its trial asks for; the trial itself is made when a pruner is attached.

    Args:
        registry: Registry of the adapters; by default that of the process.
        tested: Types that the conformance kit is run on.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    records = (registry or default_registry()).records("adapter")
    named = {str(getattr(record.target, "model_type", "")): record.name for record in records}
    types = []
    for name, classes in sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items()):
        model = classes if isinstance(classes, str) else classes[0]
        why = "" if name in named else why_not(model)
        adapter = named.get(name, "" if why else "generic")
        types.append(ModelType(name, model, adapter, why, name in tested))
    return types


def why_not(model: str) -> str:
    """The reason why a class of transformers cannot be served by the generic adapter; empty if it may be."""
    import transformers

    made: Any = getattr(transformers, model, None)
    if made is None:
        return "its class needs a package that is not installed"
    body = getattr(transformers, model.replace("ForConditionalGeneration", "Model"), made)
    if not any(hasattr(one, "get_image_features") for one in (made, body)):
        return "its images enter in another way than as rows in place of placeholders: no get_image_features()"
    if "mm_encoder_outputs" not in parameters(made.forward):
        return "its forward() does not take mm_encoder_outputs"
    features = next(one.get_image_features for one in (made, body) if hasattr(one, "get_image_features"))
    if needs := required(made.forward, parameters(features) - {"self"}):
        return f"its forward() requires {', '.join(needs)}, even where encoded images are passed on"
    if not hasattr(made, "generate"):
        return "it has no generate()"
    try:
        config = made.config_class()
    except Exception as error:  # some have no default config
        return f"it has no default config to look at: {type(error).__name__}"
    if getattr(config, "is_encoder_decoder", False):
        return "an encoder reads its prompt: its tokens are no prefix of the answer's"
    if not hasattr(config, "image_token_id"):
        return "its config names no image placeholder (image_token_id)"
    return ""

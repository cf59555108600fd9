"""Features of the installed transformers. Names that differ between releases occur only in this package."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scope_adapters.compat.caches import CACHE_NAMES, cache_name
from scope_adapters.compat.features import ImageFeatures, own_forwards
from scope_adapters.compat.signatures import parameters, required
from scope_core import AdapterError

FEATURE_LAYER_NAMES = ("vision_feature_layer", "vision_feature_layers")
"""Arguments and config entries of ViP-LLaVA that name the tower layers to read, newest first."""

SERVED = "Hugging Face models need transformers 4.52 or later"
"""For messages; `lacks` has the conditions."""


class EnoughError(Exception):
    """Ends a trial pass early."""


def _once_per_class(ask: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """``ask``, cached by the module's class."""
    known: dict[type, bool] = {}

    @functools.wraps(ask)
    def asked(module: Any) -> bool:
        kind = type(module)
        if kind not in known:
            known[kind] = ask(module)
        return known[kind]

    return asked


@_once_per_class
def takes_encoder_outputs(model: Any) -> bool:
    """True if ``forward`` takes ``mm_encoder_outputs`` (from 5.18 on) and ``generate`` assigns them to beams correctly.

    5.18 confuses the images of a prompt with several images; found by expanding two images.
    """
    if "mm_encoder_outputs" not in parameters(type(model).forward):
        return False
    deal = getattr(model, "_expand_multimodal_outputs", None)
    if deal is None:
        return False
    import torch

    output = ImageFeatures(pooler_output=[torch.zeros(1, 1), torch.ones(1, 1)], deepstack_features=None)
    ids = torch.full((1, 2), int(model.config.image_token_id))
    try:
        dealt = deal(ids, {"image": output}, expand_size=2)["image"].pooler_output
    except Exception:  # a private method that may change; embeddings give the same result
        return False
    return [int(rows) for rows in dealt] == [0, 1, 0, 1]


def counts_on(model: Any) -> bool:
    """True if ``generate`` continues the given position ids, from the last column, even if that is padding."""
    return hasattr(model, "_prepare_position_ids_for_generation")


def takes_ids_beside_embeddings(base: Any) -> bool:
    """True if a base model's ``forward`` takes embeddings and ids together, as Idefics3 does."""
    return "image_hidden_states" in parameters(type(base).forward)


@_once_per_class
def takes_text_positions(language: Any) -> bool:
    """True if a language model with positions of three axes takes text positions, for masks, as a fourth.

    Not in 4.52; found by passing four axes and counting those that the rotary embedding gets.
    """
    import torch

    seen: list[int] = []

    def look(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(len(kwargs["position_ids"] if "position_ids" in kwargs else args[1]))
        raise EnoughError

    weight = next(language.parameters())
    embeds = torch.zeros(1, 1, language.config.hidden_size, dtype=weight.dtype, device=weight.device)
    hook = language.rotary_emb.register_forward_pre_hook(look, with_kwargs=True)
    try:
        positions = torch.zeros(4, 1, 1, dtype=torch.long, device=weight.device)
        type(language).forward(language, inputs_embeds=embeds, position_ids=positions, use_cache=False)
    except EnoughError:
        pass
    finally:
        hook.remove()
    return seen == [3]


@_once_per_class
def counts_padding(base: Any) -> bool:
    """True if ``rope_deltas`` of a Qwen-VL model count padding (up to 5.17)."""
    import torch

    ids, mask = torch.zeros(1, 4, dtype=torch.long), torch.tensor([[0, 0, 0, 1]])
    given = {"attention_mask": mask, "mm_token_type_ids": torch.zeros_like(ids)}
    numbering = type(base).get_rope_index
    asked = parameters(numbering)
    deltas = numbering(base, ids, **{name: value for name, value in given.items() if name in asked})[1]
    return bool((deltas != 0).any())


def reads_layer(base: Any, layer: Any) -> bool:
    """True if InternVL's ``get_image_features`` can read ``layer`` of its tower.

    4.5x uses a wrong name for the tower unless the layer is the last; found by a trial call.
    """
    import torch

    def found(*_: Any) -> None:
        raise EnoughError

    hook = base.vision_tower.register_forward_pre_hook(found)
    options = {"vision_feature_layer": layer, "vision_feature_select_strategy": "default"}
    try:
        with own_forwards(base):
            type(base).get_image_features(base, pixel_values=torch.zeros(1, 3, 1, 1), **options)
    except EnoughError:
        return True
    except AttributeError:
        return False
    finally:
        hook.remove()
    return True


def scales_embeddings(base: Any) -> bool:
    """True if Gemma's embedding table scales words.

    If not (up to 5.0), the language model scales all embeddings, and image features are divided before.
    """
    return hasattr(base.get_input_embeddings(), "embed_scale")


def tiles_of(family: str, kind: str, image: tuple[int, int], **options: Any) -> int:
    """The number of tiles that an image processor cuts one image into; slow where processors cannot count (4.52).

    Args:
        family: Folder of the model in transformers.
        kind: Class of its processor, without the suffix that differs between releases.
        image: (height, width).
        options: Options of the processor.
    """
    from importlib import import_module
    from importlib.util import find_spec

    home = f"transformers.models.{family}.image_processing"
    newer = find_spec(f"{home}_pil_{family}") is not None  # needs no torchvision
    module = import_module(f"{home}_pil_{family}" if newer else f"{home}_{family}")
    processor = getattr(module, kind + "Pil" * newer)(**options)
    if hasattr(processor, "get_number_of_image_patches"):
        count = processor.get_number_of_image_patches(*image, images_kwargs={})
        return int(count[0] if isinstance(count, tuple) else count)
    from PIL import Image

    blank = Image.new("RGB", image[::-1])
    pixels = processor(blank, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    return int(pixels.shape[-4])


def installed_version() -> str:
    """The version of transformers; for messages only."""
    from importlib.metadata import version

    return version("transformers")


def without_weights(folder: Path) -> Any:
    """The image-text-to-text model that the ``config.json`` in a folder describes, on the meta device.

    Raises:
        AdapterError: transformers is too old.
    """
    import torch
    import transformers

    if not hasattr(transformers, "AutoModelForImageTextToText"):
        raise AdapterError(f"{SERVED}, to build a model from '{folder}'; installed is {installed_version()}")
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        return transformers.AutoModelForImageTextToText.from_config(config)


def base_path(model: Any) -> str:
    """The attribute that holds the model without its head; some classes do not report it (up to 4.52)."""
    return "model" if model.base_model is model and hasattr(model, "model") else "base_model"


def base_of(model: Any) -> Any:
    """The model without its head."""
    return getattr(model, base_path(model))


def language_model(model: Any) -> Any:
    """The module that holds the layers of the language model.

    Models of 4.52 have no ``get_decoder``, and those of some later releases return the model without its head.
    """
    found = model.get_decoder() if hasattr(model, "get_decoder") else base_of(model)
    for name in ("language_model", "text_model"):
        if not hasattr(found, "layers") and hasattr(found, name):
            found = getattr(found, name)
    return found


def rotary_options(config: Any) -> Mapping[str, Any]:
    """Options of the rotary embedding in a text config, by their newest names: ``rope_type``, ``mrope_section``, ..."""
    options = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
    return {"rope_type": options.get("type"), **options}


def unknown_convention(module: Any) -> str:
    """The reason why a model's, decoder's or layer's arguments are not supported, as a predicate; empty if they are."""
    forward = type(module).forward
    if cache_name(forward) is not None:
        return ""
    return (
        f"has no cache argument named {', '.join(CACHE_NAMES)}: a calling convention that scope-core does not know "
        f"(it takes {', '.join(sorted(parameters(forward) - {'self'}))}; `scope doctor` lists the tested versions)"
    )


def why_no_rows(model: Any) -> str:
    """The reason why encoded images that are passed on cannot take the place of a model's own; empty if they can."""
    base, forward = base_of(model), type(model).forward
    images = parameters(type(base).get_image_features) - {"self"}
    if needs := required(forward, images):
        return f"its forward() requires {', '.join(needs)}, even where encoded images are passed on"
    return "the whole model is one class, whose language model cannot be given kept rows" if base is model else ""


def lacks(model: Any) -> str:
    """The reason why kept rows cannot be passed to a model, as a predicate; empty if they can."""
    base = base_of(model)
    if base is model:
        return "has no base model apart from its head, so kept rows cannot be passed to it"
    if not hasattr(base, "get_image_features"):
        return f"has no get_image_features() on its base model, {type(base).__name__}"
    if not takes_encoder_outputs(model) and "inputs_embeds" not in parameters(type(base).forward):
        return "takes neither mm_encoder_outputs nor inputs_embeds"
    return unknown_convention(model)

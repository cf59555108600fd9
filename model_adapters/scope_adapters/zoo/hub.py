"""Loaders of checkpoints on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scope_adapters.zoo.hub_videos import takes_videos, video_batch
from scope_adapters.zoo.placement import placed
from scope_adapters.zoo.requests import requests_to
from scope_adapters.zoo.seen import seen, seen_frames
from scope_core import MissingDependencyError, TokensError, ZooError
from scope_core.adapters import LoadedModel, read_images

if TYPE_CHECKING:
    from PIL.Image import Image


def one_prompt(question: object) -> None:
    """Refuse anything but a single question.

    Raises:
        TokensError: several questions were given.
    """
    if not isinstance(question, str):
        raise TokensError(
            f"the question is a {type(question).__name__}; inputs() builds one prompt from images and one text. For a "
            f"batch, build the prompts one by one and pad their ids and masks on the left"
        )


def check_installed(source: str) -> None:
    """Refuse to load anything without transformers.

    Raises:
        MissingDependencyError: transformers is not installed.
    """
    if find_spec("transformers") is None:
        raise MissingDependencyError(f"'{source}' needs transformers: pip install 'scope-core[hf]'")


def from_pretrained(class_name: str, source: str, **options: Any) -> Any:
    """The result of ``transformers.<class_name>.from_pretrained(source, **options)``.

    Raises:
        MissingDependencyError: transformers is not installed.
        ZooError: the checkpoint cannot be loaded.
    """
    check_installed(source)
    import transformers

    try:
        with requests_to(source) as how:
            if how and "Model" in class_name:  # models look for a PEFT adapter first
                how = {**how, "adapter_kwargs": how}
            return getattr(transformers, class_name).from_pretrained(source, **{**how, **options})
    except ImportError as error:
        text = " ".join(str(error).split())
        raise MissingDependencyError(f"'{source}' needs a package that is not installed: {text}") from error
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ZooError(
            f"cannot load '{source}' from the Hugging Face hub: {first} On a machine that can reach the hub, run "
            f"`scope models fetch NAME` and copy its hub cache here, or use a zoo entry that needs no hub "
            f"(see `scope models`)"
        ) from error


def load_model(
    source: str,
    *,
    dtype: Any = "auto",
    device_map: Any = None,
    attn_implementation: str | None = None,
    quantization: Any = None,
    cache_dir: Path | None = None,
    **options: Any,
) -> LoadedModel:
    """A multimodal model of any class, with its processor.

    Args:
        source: Hub id or folder.
        dtype: dtype of the weights; ``"auto"`` is the checkpoint's own.
        device_map: Device of the weights, e.g. ``"cuda"`` or ``"auto"``; by default the CPU.
        attn_implementation: e.g. ``"sdpa"``; by default the library's choice.
        quantization: ``"bnb-8bit"``, ``"bnb-4bit"``, or a quantisation config of transformers.
        cache_dir: Folder of the weights, laid out as the hub's own cache; by default that cache.
        options: Further options of ``from_pretrained``.

    Raises:
        ZooError: an option is not known, cannot be used on this machine, or the checkpoint cannot be loaded.
        MissingDependencyError: an option needs a package that is not installed.
    """
    check_installed(source)
    options |= placed(
        source,
        dtype=dtype,
        device_map=device_map,
        attn_implementation=attn_implementation,
        quantization=quantization,
    )
    cached = {} if cache_dir is None else {"cache_dir": cache_dir}
    model = from_pretrained("AutoModelForImageTextToText", source, **options, **cached).eval()
    processor = from_pretrained("AutoProcessor", source, **cached)

    def inputs(images: Sequence[Any], question: str) -> dict[str, Any]:
        one_prompt(question)
        images = read_images(images)
        try:
            batch = prepared(images, question)
        except (ValueError, ZeroDivisionError, OSError) as error:  # e.g. an image too narrow for the processor
            raise ZooError(f"the processor of '{source}' cannot prepare these images: {error}") from error
        return dict(batch.to(model.device, model.dtype))

    def prepared(images: Sequence[Image], question: str) -> Any:
        if getattr(processor, "chat_template", None) is None:
            prompt = f"{getattr(processor, 'image_token', '') * len(images)}{question}"
            return processor(text=prompt, images=images or None, return_tensors="pt")
        content = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": question}]
        return processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def video_inputs(clips: Sequence[Any], question: str) -> dict[str, Any]:
        one_prompt(question)
        try:
            batch = video_batch(processor, clips, question, source)
        except ZooError:
            raise
        except (ValueError, ZeroDivisionError, OSError, ImportError) as error:  # e.g. a frame that is too narrow
            raise ZooError(f"the processor of '{source}' cannot prepare this video: {error}") from error
        return dict(batch.to(model.device, model.dtype))

    def decode(ids: Any) -> str:
        return str(processor.decode(torch.as_tensor(ids).flatten(), skip_special_tokens=True))

    return LoadedModel(
        model=model,
        inputs=inputs,
        decode=decode,
        name=source,
        view=lambda image: seen(processor.image_processor, image),
        video_inputs=video_inputs if takes_videos(processor) else None,
        video_view=(lambda frames: seen_frames(processor, frames)) if takes_videos(processor) else None,
        longest=getattr(model.config.get_text_config(), "max_position_embeddings", None),
    )

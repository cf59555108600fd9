"""Loaders of checkpoints on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scope_adapters.zoo.asking import asking
from scope_core import MissingDependencyError, TokensError, ZooError
from scope_core.adapters import LoadedModel

if TYPE_CHECKING:
    from PIL.Image import Image


def one_prompt(question: object) -> None:
    """Refuse what is no single question.

    Raises:
        TokensError: several prompts were given at once.
    """
    if not isinstance(question, str):
        raise TokensError(
            f"the question is a {type(question).__name__}; inputs() makes one prompt of one or several images and one "
            f"text. For a batch, make the prompts one by one and pad their ids and masks on the left"
        )


def from_pretrained(class_name: str, source: str, **options: Any) -> Any:
    """``transformers.<class_name>.from_pretrained(source, **options)`` with errors that say what to do.

    Raises:
        MissingDependencyError: transformers is not installed.
        ZooError: the checkpoint cannot be had.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(f"'{source}' needs transformers: pip install 'scope-core[hf]'") from error
    try:
        with asking(source) as how:
            if how and "Model" in class_name:  # they look for an adapter of PEFT's before anything else
                how = {**how, "adapter_kwargs": how}
            return getattr(transformers, class_name).from_pretrained(source, **{**how, **options})
    except ImportError as error:
        text = " ".join(str(error).split())
        raise MissingDependencyError(f"'{source}' needs a package that is not installed: {text}") from error
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ZooError(
            f"cannot load '{source}' from the Hugging Face hub: {first} On a machine that reaches the hub run "
            f"`scope models fetch NAME`, copy its hub cache here, or use a zoo entry that needs no hub "
            f"(see `scope models`)"
        ) from error


def load_model(
    source: str,
    *,
    dtype: Any = "auto",
    device_map: Any = None,
    attn_implementation: str | None = None,
    one_picture: bool = False,
    **options: Any,
) -> LoadedModel:
    """A multimodal model with its processor, whatever its class.

    Args:
        source: Hub id or folder.
        dtype: Of the weights; ``"auto"`` is the checkpoint's own.
        device_map: Where the weights go, e.g. ``"cuda"`` or ``"auto"``; the CPU if left out.
        attn_implementation: e.g. ``"sdpa"``; the library's choice if left out.
        one_picture: The processor makes one picture of an image, which overlays may be drawn on.
        options: Also passed to ``from_pretrained``.
    """
    placed = {"device_map": device_map, "attn_implementation": attn_implementation}
    options.update({name: value for name, value in placed.items() if value is not None})
    model = from_pretrained("AutoModelForImageTextToText", source, dtype=dtype, **options).eval()
    processor = from_pretrained("AutoProcessor", source)

    def inputs(images: Sequence[Image], question: str) -> dict[str, Any]:
        one_prompt(question)
        if getattr(processor, "chat_template", None) is None:
            prompt = f"{getattr(processor, 'image_token', '') * len(images)}{question}"
            made = processor(text=prompt, images=list(images) or None, return_tensors="pt")
        else:
            content = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": question}]
            made = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        return dict(made.to(model.device, model.dtype))

    def decode(ids: Any) -> str:
        import torch

        return str(processor.decode(torch.as_tensor(ids).flatten(), skip_special_tokens=True))

    return LoadedModel(
        model=model,
        inputs=inputs,
        decode=decode,
        name=source,
        view=(lambda image: seen(processor.image_processor, image)) if one_picture else None,
    )


def seen(image_processor: Any, image: Image) -> Image:
    """The picture that a processor of one tile hands to the tower, with its normalisation undone."""
    import torch
    from PIL.Image import frombytes

    pixels = torch.as_tensor(image_processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0])
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (image_processor.image_mean, image_processor.image_std))
    raw = ((pixels * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous()
    return frombytes("RGB", (raw.shape[1], raw.shape[0]), bytes(raw.flatten().tolist()))

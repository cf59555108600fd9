"""The loader of a small trained LLaVA: dinov2-small, and a projector and decoder that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scope_adapters.zoo.hub import one_prompt
from scope_adapters.zoo.towers import dinov2_small
from scope_core import ZooError
from scope_core.adapters import LoadedModel, read_images

FOLDER = Path(__file__).parent
NOTE = "a 3.6M-parameter decoder trained on emoji pasted on photographs: it knows those objects, in its own few words"


def load(source: str, *, cache_dir: Path | None = None) -> LoadedModel:
    """The model in float32; only the tower's weights are fetched (once).

    Images of any size and mode are resized to 336 pixels along the shorter side and cropped to the centre. The answer
    to a question with a word outside the vocabulary is "unknown".

    Args:
        source: Source of the tower; from the zoo entry.
        cache_dir: Folder of the tower's weights.

    Raises:
        ZooError: the tower cannot be fetched, or the package's files are damaged.
        MissingDependencyError: transformers, safetensors or onnx is not installed.
    """
    from safetensors import SafetensorError

    tower = dinov2_small(source, cache_dir=cache_dir)
    try:
        model, words = assemble(FOLDER, tower.module)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ZooError(f"the files of scenes-llava in {FOLDER} are damaged: {error}. Reinstall scope-core") from error

    def inputs(images: Sequence[Any], question: str) -> dict[str, Any]:
        one_prompt(question)
        images = read_images(images)
        placeholders = "<image>" * model.config.image_seq_length * len(images)
        batch = dict(words(f"{placeholders} {question.replace('<image>', ' ')}", return_tensors="pt"))
        return {**batch, "pixel_values": tower.pixels(images)} if images else batch

    def decode(ids: Any) -> str:
        return str(words.decode(torch.as_tensor(ids).flatten(), skip_special_tokens=True))

    return LoadedModel(
        model=model,
        inputs=inputs,
        decode=decode,
        name="scenes-llava",
        notes=NOTE,
        view=tower.view,
        longest=model.config.text_config.max_position_embeddings,
    )


def assemble(folder: Path, vision: Any) -> tuple[Any, Any]:
    """``LlavaForConditionalGeneration`` with a tower, and its tokenizer, from a folder that training exported.

    Raises:
        OSError, ValueError, RuntimeError, SafetensorError: a file is missing or does not fit.
    """
    from safetensors.torch import load_file
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        model = LlavaForConditionalGeneration(config)
    weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    weights |= {f"model.vision_tower.{name}": tensor for name, tensor in vision.state_dict().items()}
    model.load_state_dict(weights, strict=True)
    words = tokenizer(folder)
    model.generation_config.pad_token_id = words.pad_token_id
    model.generation_config.bos_token_id = words.bos_token_id
    model.generation_config.eos_token_id = words.eos_token_id
    return model.eval(), words


def tokenizer(folder: Path) -> Any:
    """The tokenizer in such a folder, of a class that all releases of transformers have."""
    from transformers import PreTrainedTokenizerFast

    given = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    special = {name: given[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_input_names=given["model_input_names"],
        clean_up_tokenization_spaces=given["clean_up_tokenization_spaces"],
        **special,
    )

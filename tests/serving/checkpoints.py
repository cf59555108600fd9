"""Tiny LLaVA-1.5 and LLaVA-NeXT checkpoints with random weights, as folders: config, weights, processor, chat template.

    python tests/serving/checkpoints.py FOLDER      # writes FOLDER/llava-1.5 and FOLDER/llava-next

Weak random weights answer the same tokens whatever the image shows, and then a test of serving proves nothing. These
are drawn larger, attention is sharpened, and the answer depends on the image and on which of its tokens are kept:
`test_checkpoints.py` shows it. Only whole words are ever the most likely answer, so that texts can be compared.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ ' ' }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""The chat template of LLaVA-1.5, in short."""

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")


@dataclass(frozen=True)
class Sizes:
    """How large a checkpoint is.

    Attributes:
        side: Pixels of a tile; patches are 14 wide.
        vision: Width of the tower.
        vision_layers: Its layers; the last but one gives the features.
        text: Width of the language model.
        text_layers: Its layers.
        heads: Attention heads of both; width over heads has to be a size that vLLM's CPU attention has.
    """

    side: int = 336
    vision: int = 128
    vision_layers: int = 3
    text: int = 128
    text_layers: int = 3
    heads: int = 4


def llava(folder: Path, sizes: Sizes = Sizes(), *, template: bool = True) -> Path:
    """Write a LLaVA-1.5: 576 visual tokens per image with the sizes as they are."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = words()
    config = LlavaConfig(
        **towers(sizes, len(tokenizer)),
        image_seq_length=(sizes.side // 14) ** 2,
        image_token_id=SPECIAL.index("<image>"),
    )
    processor = LlavaProcessor(
        pictures(sizes), tokenizer, patch_size=14, vision_feature_select_strategy="default",
        chat_template=TEMPLATE if template else None, num_additional_image_tokens=1,
    )  # fmt: skip
    return write(folder, LlavaForConditionalGeneration, config, processor)


def llava_next(folder: Path, sizes: Sizes = Sizes(side=84)) -> Path:
    """Write a LLaVA-NeXT: 36 visual tokens per tile, up to five tiles per image, newline tokens."""
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer, side = words(), sizes.side
    grids = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side], [3 * side, side], [side, 3 * side]]
    config = LlavaNextConfig(
        **towers(sizes, len(tokenizer)), image_grid_pinpoints=grids, image_token_id=SPECIAL.index("<image>"),
        image_seq_length=(side // 14) ** 2,
    )  # fmt: skip
    images = LlavaNextImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=grids
    )
    processor = LlavaNextProcessor(
        images, tokenizer, patch_size=14, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    return write(folder, LlavaNextForConditionalGeneration, config, processor)


def llava_onevision(folder: Path, sizes: Sizes = Sizes(side=84)) -> Path:
    """A LLaVA-OneVision: SigLIP tiles, up to 16 of them; beyond 4 x 1.21 tiles an image is interpolated."""
    import transformers as hf

    side, tokenizer = sizes.side, words()
    grids = [[side * rows, side * cols] for rows in range(1, 5) for cols in range(1, 5)]
    vision = hf.SiglipVisionConfig(
        hidden_size=sizes.vision, intermediate_size=2 * sizes.vision, num_hidden_layers=sizes.vision_layers,
        num_attention_heads=sizes.heads, image_size=side, patch_size=14, vision_use_head=False,
    )  # fmt: skip
    shared = towers(sizes, len(tokenizer))
    shared |= {"vision_config": vision, "vision_feature_select_strategy": "full", "vision_feature_layer": -1}
    image = SPECIAL.index("<image>")
    config = hf.LlavaOnevisionConfig(
        **shared, image_token_id=image, video_token_id=3, image_grid_pinpoints=grids,
        vision_aspect_ratio="anyres_max_4",
    )  # fmt: skip
    images = hf.LlavaOnevisionImageProcessor(size={"height": side, "width": side}, image_grid_pinpoints=grids)
    videos = hf.LlavaOnevisionVideoProcessor(size={"height": side, "width": side})
    processor = hf.LlavaOnevisionProcessor(
        images, tokenizer, videos, num_image_tokens=(side // 14) ** 2, vision_feature_select_strategy="full",
        chat_template=TEMPLATE, vision_aspect_ratio="anyres_max_4", video_token="<unk>",
    )  # fmt: skip
    return write(folder, hf.LlavaOnevisionForConditionalGeneration, config, processor)


def prompt(images: int, question: str, videos: int = 0) -> str:
    """What a chat template makes of one user's message to the LLaVA-OneVision here, whose videos are ``<unk>``."""
    return "USER: " + "<image>\n" * images + "<unk>\n" * videos + question + " ASSISTANT:"


def towers(sizes: Sizes, vocabulary: int) -> dict[str, Any]:
    """The parts of the configuration that both families share."""
    from transformers import CLIPVisionConfig, LlamaConfig

    vision = CLIPVisionConfig(
        hidden_size=sizes.vision, intermediate_size=2 * sizes.vision, num_hidden_layers=sizes.vision_layers,
        num_attention_heads=sizes.heads, image_size=sizes.side, patch_size=14, projection_dim=sizes.vision,
    )  # fmt: skip
    text = LlamaConfig(
        hidden_size=sizes.text, intermediate_size=2 * sizes.text, num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.heads, num_key_value_heads=sizes.heads // 2, vocab_size=vocabulary,
        max_position_embeddings=8192, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return {
        "vision_config": vision, "text_config": text, "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default", "tie_word_embeddings": False,
    }  # fmt: skip


def pictures(sizes: Sizes) -> Any:
    """CLIP's image processor: resize, crop, normalise."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": sizes.side}, crop_size={"height": sizes.side, "width": sizes.side})


def words(special: tuple[str, ...] = SPECIAL, image: str = "<image>") -> Any:
    """A tokenizer that can read anything: bytes, and words in full where it knows them."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters, len(special))}, []))
    vocabulary = {**{name: number for number, name in enumerate(special)}, **model.get_vocab()}
    merges = []
    for word in (f"Ġ{first}{vowel}{last}" for first in "bdfgklmnprst" for vowel in "aeiou" for last in "lmnrst"):
        for end in range(2, len(word) + 1):  # each word is built from its left, letter by letter
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": image}, model_max_length=8192,
    )  # fmt: skip


def write(folder: Path, model_class: type, config: Any, processor: Any) -> Path:
    """Draw the weights and save everything."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config).float().eval()
    draw(model)
    whole = torch.tensor([len(token) == 4 and token.startswith("Ġ") for token in ordered(processor.tokenizer)])
    model.lm_head.weight.data[~whole] = 0  # a logit of 0: never the largest of hundreds
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    rename(folder / "model.safetensors")
    processor.save_pretrained(folder)
    return folder


def rename(file: Path) -> None:
    """The tower's names as the checkpoints on the hub have them; Hugging Face reads both, vLLM only those."""
    from safetensors.torch import load_file, save_file

    old, new = "vision_tower.", "vision_tower.vision_model."
    weights = {name if new in name else name.replace(old, new): weight for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def ordered(tokenizer: Any) -> list[str]:
    """The tokens by number."""
    return tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))


def draw(model: nn.Module) -> None:
    """Weights large enough that answers depend on what is seen."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "image_newline" in name or "class_embedding" in name:
            weight.data.normal_(0, 1, generator=generator)
        elif weight.dim() >= 2:
            fan_in = weight[0].numel() if "embed_tokens" not in name and "position" not in name else 1
            gain = 2.5 if "q_proj" in name or "k_proj" in name else 1.5
            weight.data.normal_(0, gain * fan_in**-0.5, generator=generator)
        elif "bias" in name:
            weight.data.normal_(0, 0.1, generator=generator)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    print(llava(home / "llava-1.5"), llava_next(home / "llava-next"))

"""A tiny InternVL checkpoint with random weights, which vLLM and Hugging Face both read."""

from __future__ import annotations

from pathlib import Path

import checkpoints
import torch

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
IMAGE = SPECIAL.index("<IMG_CONTEXT>")
TEMPLATE = checkpoints.TEMPLATE.replace("<image>\n", "<IMG_CONTEXT>\n")
SIDE, TOKENS, TILES = 112, 16, 6
"""Pixels of a tile's side, its tokens, and the most tiles of an image without its thumbnail."""


def internvl(folder: Path, *, norms: bool = False, crop: bool = True) -> Path:
    """Write an InternVL: 8 x 8 patches per tile, one token per 2 x 2 of them.

    Args:
        folder: Where to.
        norms: True for a tower that norms queries and keys.
        crop: The image processor's ``crop_to_patches``; the processor of prompts sets it anyway.
    """
    import transformers as hf

    tokenizer = checkpoints.words(SPECIAL, "<IMG_CONTEXT>")
    names = {"start_image": "<img>", "end_image": "</img>", "context_image": "<IMG_CONTEXT>", "video": "<video>"}
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", extra_special_tokens={f"{name}_token": token for name, token in names.items()},
        model_max_length=8192,
    )  # fmt: skip
    vision = hf.InternVLVisionConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, image_size=[SIDE, SIDE],
        patch_size=[14, 14], layer_scale_init_value=1.0, attention_bias=True, use_qk_norm=norms,
    )  # fmt: skip
    text = hf.Qwen2Config(
        hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=len(tokenizer), max_position_embeddings=8192, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False, architectures=["Qwen2ForCausalLM"],
    )  # fmt: skip
    config = hf.InternVLConfig(
        vision_config=vision, text_config=text, image_token_id=IMAGE, image_seq_length=TOKENS, tie_word_embeddings=False
    )
    size = {"height": SIDE, "width": SIDE}
    images = hf.GotOcr2ImageProcessor(size=size, crop_to_patches=crop, min_patches=1, max_patches=TILES)
    processor = hf.InternVLProcessor(
        images, tokenizer, hf.InternVLVideoProcessor(size=size), image_seq_length=TOKENS, chat_template=TEMPLATE
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.InternVLForConditionalGeneration(config).float().eval()
    checkpoints.draw(model)
    whole = torch.tensor([len(token) == 4 and token.startswith("Ġ") for token in checkpoints.ordered(tokenizer)])
    model.lm_head.weight.data[~whole] = 0
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def prompt(images: int, question: str) -> str:
    """What the chat template makes of one user's message."""
    return "USER: " + "<IMG_CONTEXT>\n" * images + question + " ASSISTANT:"

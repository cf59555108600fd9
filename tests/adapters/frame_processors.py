"""The real processors of InternVL and SmolVLM, with a tokenizer of bytes that is built in memory."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import transformers as hf
from PIL import Image

from adapters.models import PLACEHOLDER
from adapters.tiled import SIDE

INTERNVL = {
    "context_image_token": "<IMG_CONTEXT>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "video_token": "<video>",
}
SMOLVLM = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "video_token": "<video>",
    "end_of_utterance_token": "<end_of_utterance>",
}
CHARACTERS = "\n !#%()+,-./0123456789:<>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz"


def expands_videos(name: str) -> bool:
    """True if the installed processor makes the text of a video's frames in a method of its own."""
    return hasattr(getattr(hf, f"{name}Processor", None), "replace_video_token")


real = pytest.mark.skipif(
    not (expands_videos("InternVL") and expands_videos("SmolVLM") and hf.utils.is_torchvision_available()),
    reason="these processors of this transformers write videos in another way",
)


def tokenizer(special: dict[str, str]) -> Any:
    """One id for each character, and for each special token; the first special one is `PLACEHOLDER`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<unk>": 1} | {character: number for number, character in enumerate(CHARACTERS, 2)}
    words |= {f"<{number}>": number for number in range(len(words), PLACEHOLDER)}
    words |= {token: PLACEHOLDER + number for number, token in enumerate(special.values())}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokens = hf.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", extra_special_tokens=dict(special))
    tokens.add_special_tokens({"additional_special_tokens": list(special.values())})
    return tokens


def internvl() -> Any:
    """InternVL's processor for the tiny model of `adapters.tiled`: images of up to two tiles and an overview."""
    size = {"height": SIDE, "width": SIDE}
    images = hf.GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=2)
    return hf.InternVLProcessor(images, tokenizer(INTERNVL), hf.InternVLVideoProcessor(size=size), image_seq_length=9)


def smolvlm(patch: pytest.MonkeyPatch) -> Any:
    """SmolVLM's processor; it writes the number of frames in digits, since the package for words is not installed."""
    home = inspect.getmodule(hf.SmolVLMProcessor)
    patch.setattr(home, "num2words", str)
    side = {"longest_edge": SIDE}
    images = hf.SmolVLMImageProcessor(size=side, max_image_size=side, do_image_splitting=False)
    videos = hf.SmolVLMVideoProcessor(size=side, max_image_size=side)
    return hf.SmolVLMProcessor(images, tokenizer(SMOLVLM), videos, image_seq_len=9)


def video(frames: int, seed: int = 0) -> Any:
    """(F, 60, 80, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 255, (frames, 60, 80, 3), dtype=np.uint8)


def picture(width: int, height: int) -> Image.Image:
    """An image of noise."""
    return Image.fromarray(np.random.default_rng(9).integers(0, 255, (height, width, 3), dtype=np.uint8))


def seconds(frames: int, fps: float, step: int = 1) -> dict[str, Any]:
    """The metadata of a video of which every ``step``-th frame was taken."""
    taken: Sequence[int] = range(0, frames * step, step)
    return {"fps": fps, "duration": frames * step / fps, "total_num_frames": frames * step, "frames_indices": taken}

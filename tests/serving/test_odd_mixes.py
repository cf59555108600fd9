"""Odd mixes of images and recipes in one batch: a served model answers as Hugging Face does with `attach`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import internvl_checkpoints
import pytest
import qwen_checkpoints
from engines import HuggingFace, Prompt, engine
from samples import picture

QUESTION = "What is in the picture?"
WIDE, TALL, SMALL, LARGE = (
    picture(number, size) for number, size in enumerate(((420, 60), (50, 310), (61, 59), (500, 390)))
)
MIXES = ([WIDE, TALL, SMALL], [LARGE, LARGE], [TALL], [SMALL, LARGE, SMALL, WIDE])
QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
OF_CLIP = (
    "divprune@15%", {"recipe": "visionzip", "budget": 0.2, "order": "raster"}, "fastervlm@30%", "holov@25%",
    "prunesid@20%",
)  # fmt: skip
IN_TILES = (
    "divprune@15%", {"recipe": "visionzip@no_cls", "budget": 0.2, "order": "raster"}, "fastervlm@no_cls@30%",
    "vispruner@no_cls@25%",
)  # fmt: skip
WITHOUT_CLS = ("divprune@15%", "visionzip@no_cls@20%", "fastervlm@no_cls@30%", "vispruner@no_cls@25%")
MODELS: dict[str, tuple[Callable[[Path], Path], str, tuple[Any, ...]]] = {
    "llava_next": (checkpoints.llava_next, "<image>\n", OF_CLIP),
    "llava_onevision": (checkpoints.llava_onevision, "<image>\n", IN_TILES),
    "internvl": (internvl_checkpoints.internvl, "<IMG_CONTEXT>\n", ("fastervlm@30%", *WITHOUT_CLS)),
    "qwen2_vl": (lambda folder: qwen_checkpoints.qwen(folder, "qwen2_vl"), QWEN, WITHOUT_CLS),
    "qwen2_5_vl": (lambda folder: qwen_checkpoints.qwen(folder, "qwen2_5_vl"), QWEN, WITHOUT_CLS),
    "qwen3_vl": (lambda folder: qwen_checkpoints.qwen(folder, "qwen3_vl", 16), QWEN, WITHOUT_CLS),
}


@pytest.mark.parametrize("name", MODELS)
def test_odd_mixes_are_answered_as_by_hugging_face(tmp_path: Path, name: str) -> None:
    make, mark, specs = MODELS[name]

    def first(images: int, question: str, *_: int) -> str:
        return f"USER: {mark * images}{question} ASSISTANT:"

    def last(images: int, question: str, *_: int) -> str:
        return f"USER: {question} {mark * images}ASSISTANT:"

    def between(images: int, question: str, *_: int) -> str:
        return f"USER: {question.join([mark] * images)} ASSISTANT:"

    folder = make(tmp_path)
    huggingface = HuggingFace.load(folder)
    prompts = [
        Prompt(images, specs[(number + place) % len(specs)], QUESTION, written)
        for number, images in enumerate(MIXES)
        for place, written in enumerate((first, last, between))
    ]
    with engine(folder, "uniform_grid@100%") as running:
        answers = running.answers(*prompts)
    firm = [huggingface.firm(prompt, prompt.pruner) for prompt in prompts]
    assert sum(firm) >= len(prompts) // 2
    for prompt, answer, sure in zip(prompts, answers, firm, strict=True):
        if sure:
            said = [image.size for image in prompt.images], prompt.pruner, prompt.written.__name__
            assert answer == huggingface.answer(prompt, prompt.pruner)[0], said

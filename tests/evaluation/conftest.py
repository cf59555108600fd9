"""Checkpoints, tasks and command lines, made once per run. Nothing here reaches a network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import checkpoints
import local_tasks
import pytest
import torch
from commands import Commands

from scope_core import Pruner

torch.set_num_threads(1)
_cache = tempfile.TemporaryDirectory()
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=_cache.name)  # before anything imports datasets


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA-1.5 with 36 visual tokens per image."""
    return checkpoints.llava(tmp_path_factory.mktemp("checkpoint") / "llava", checkpoints.Sizes(side=84))


@pytest.fixture(scope="session")
def llava_next(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA-NeXT with 36 visual tokens per tile."""
    return checkpoints.llava_next(tmp_path_factory.mktemp("checkpoint") / "llava_next")


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `local_yes_no`, `local_open` and others, their images in parquet files beside them."""
    return local_tasks.write(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="session")
def commands(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """lmms-eval's command line, offline, with the local tasks."""
    return Commands(tasks, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def pictures() -> list[Any]:
    """The images of the tasks, and the word that each question asks for."""
    words = local_tasks.COLOURS
    return [(local_tasks.scene(k), words[k % len(words)]) for k in range(local_tasks.EXAMPLES)]


@pytest.fixture(scope="session")
def attached() -> Callable[..., list[str]]:
    """Answers by transformers and `Pruner.attach` alone: ``attached(folder, spec, pictures, question, length)``.

    Without spaces around them: lmms-eval writes them so.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    def ask(folder: Path, spec: Any, asked: list[Any], question: str, length: int, *, chat: bool = False) -> list[str]:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        processor = AutoProcessor.from_pretrained(folder)
        answers = []
        with nullcontext() if spec is None else Pruner(spec).attach(model):
            for image, word in asked:
                text = question.format(word)
                content = [{"type": "image"}, {"type": "text", "text": text}] if chat else f"<image>\n{text}"
                speaks = processor if chat else processor.tokenizer
                prompt = speaks.apply_chat_template(
                    [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
                )
                inputs = processor(images=[image], text=prompt, return_tensors="pt")
                ids = model.generate(**inputs, do_sample=False, max_new_tokens=length, pad_token_id=2)
                new = ids[0, inputs["input_ids"].shape[1] :]
                answers.append(processor.decode(new, skip_special_tokens=True).strip())
        return answers

    return ask

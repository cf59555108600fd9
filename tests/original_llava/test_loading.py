"""Models that the codebase's own loader and builders make: `load_pretrained_model` on a checkpoint on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import by_hand
import pytest
import sentencepiece
import tiny
import torch
from adapters.guests import keeping
from adapters.snapshot import differences, snapshot
from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.builder import load_pretrained_model
from PIL import Image
from transformers import LlamaTokenizer

import scope_core as scope

WORDS = "the a picture of cat dog and two red boxes what is in USER ASSISTANT : ? ."


@pytest.fixture(scope="module", params=["1.5", "1.6 spatial_unpad"])
def checkpoint(
    request: pytest.FixtureRequest, tower: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A tiny model with its tokenizer, saved as the codebase saves its own."""
    kind, folder = request.param, tmp_path_factory.mktemp("llava-tiny")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 50),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    LlamaTokenizer(str(folder / "tokenizer.model"), pad_token="<unk>").save_pretrained(folder)
    tiny.build(tower, kind).save_pretrained(folder)
    return kind, folder


def test_its_own_loader(checkpoint: tuple[str, Path]) -> None:
    """From pixels to ids: loaded, preprocessed and prompted by the codebase's own functions, then pruned."""
    kind, folder = checkpoint
    tokenizer, model, processor, _ = load_pretrained_model(str(folder), None, "llava-tiny", device="cpu")
    model = model.float()  # it loads in half precision, which old releases of torch cannot run on a CPU
    tiny.settle(model)
    ids = tokenizer_image_token(
        "USER : <image> what is in the picture ? ASSISTANT :", tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt"
    )[None]
    picture = Image.effect_mandelbrot((90, 33), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    images = process_images([picture], processor, model.config)
    given = tiny.Prompts(ids, torch.ones_like(ids), [image.float() for image in images], [picture.size], [0])
    given = given if kind.startswith("1.6") else given.with_images(torch.stack(given.images))

    def run() -> tuple[Any, Any]:
        with torch.no_grad():
            logits = model(given.ids, **given.inputs).logits
        return logits, model.generate(given.ids, **given.inputs, max_new_tokens=5, do_sample=False)

    whole = run()
    before = snapshot(model)  # generate() of old releases leaves a configuration behind
    with scope.Pruner({"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 1.0}}).attach(model):
        assert all(torch.equal(one, other) for one, other in zip(run(), whole, strict=True))
    inputs = by_hand.pruned(model, kind, given, [6])
    with torch.no_grad():
        wanted = model(**inputs).logits
    with keeping(6).attach(model) as pruning:
        logits, _ = run()
    torch.testing.assert_close(logits, wanted, atol=2e-4, rtol=0)
    assert pruning.receipt.kept == 6 < pruning.receipt.tokens
    assert differences(before, snapshot(model)) == []


def test_half_precision_is_attached_to_before_it_moves(checkpoint: tuple[str, Path]) -> None:
    """As loaded: where this torch cannot run half precision on a CPU, what needs a pass is checked at the call."""
    _, folder = checkpoint
    _, model, _, _ = load_pretrained_model(str(folder), None, "llava-tiny", device="cpu")
    assert model.dtype == torch.float16
    before = snapshot(model)
    with keeping(6).attach(model) as pruning:
        assert pruning.declaration.merges == {"vision", "projected"}
    assert differences(before, snapshot(model)) == []


def test_bfloat16(checkpoint: tuple[str, Path]) -> None:
    """Row numbers stay exact, and so does keeping everything."""
    _, folder = checkpoint
    _, model, _, _ = load_pretrained_model(str(folder), None, "llava-tiny", device="cpu")
    model = model.bfloat16()
    given = tiny.prompts(model, [3, (40, 30), 4], [6], [2, (90, 33), 1, (28, 100), 5])
    few = torch.where(given.ids > 9, 5 + given.ids % 20, given.ids)  # the tokenizer is smaller than the model was
    images = [image.bfloat16() for image in given.images] if isinstance(given.images, list) else given.images.bfloat16()
    given = replace(given, ids=few, images=images)
    with torch.no_grad():
        wanted = model(given.ids, **given.inputs).logits
        with scope.Pruner({"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 1.0}}).attach(model):
            assert torch.equal(model(given.ids, **given.inputs).logits, wanted)
        with keeping([5, 3, 9]).attach(model):
            assert model(given.ids, **given.inputs).logits.isfinite().all()

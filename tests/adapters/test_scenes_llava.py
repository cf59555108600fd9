"""The zoo's scenes-llava: what it answers, and what it is given."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import scope_core as scope
from adapters.installed import features_of
from scope_adapters.zoo.scenes_llava import loading
from scope_core import ZooError, default_registry

pytestmark = pytest.mark.tower

SCENES = 24
# What the card says, held less three standard errors of what so few scenes can show.
BARS = {"existence": 0.90, "where": 0.85, "relation": 0.80, "size": 0.80, "count": 0.55}


@pytest.fixture(scope="module")
def loaded():
    return scope.load("scenes-llava")


@pytest.fixture(scope="module")
def examples():
    registry = default_registry()
    return registry.build("task", registry.get("task", "scenes").spec()).examples("test")[:SCENES]


@pytest.fixture(scope="module")
def visual(loaded, examples):
    """(n, 576, width) visual tokens of the scenes, encoded once."""
    with torch.no_grad():
        pixels = [loaded.inputs([example.image()], "")["pixel_values"] for example in examples]
        return torch.cat([torch.stack(list(tokens_of(loaded.model, p))) for p in pixels])


def tokens_of(model, pixels):
    return features_of(model, pixel_values=pixels)


def ask(loaded, visual, texts):
    """The first word of each answer about one image (576, width)."""
    model, answers = loaded.model, []
    with torch.no_grad():
        for text in texts:
            ids = loaded.inputs([], text)["input_ids"][0]
            words = model.model.language_model.embed_tokens(ids)
            embeds = torch.cat([words[:1], visual, words[1:]])[None]
            hidden = model.model.language_model(inputs_embeds=embeds).last_hidden_state[:, -1]
            answers.append(loaded.decode(model.lm_head(hidden).argmax(-1)))
    return answers


def accuracy(loaded, examples, visual):
    right = {}
    for example, tokens in zip(examples, visual, strict=True):
        # A few of each kind, to take seconds.
        chosen = [q for kind in BARS for q in [q for q in example.questions if q.kind == kind][:4]]
        for question, said in zip(chosen, ask(loaded, tokens, [q.text for q in chosen]), strict=True):
            right.setdefault(question.kind, []).append(said == question.answer)
    return {kind: (float(np.mean(values)), len(values)) for kind, values in right.items()}


def test_it_answers_questions_about_photographs_it_never_saw(loaded, examples, visual):
    for kind, (share, count) in accuracy(loaded, examples, visual).items():
        bar = BARS[kind]
        assert share >= bar - 3 * (bar * (1 - bar) / count) ** 0.5, kind


def test_with_another_scenes_tokens_it_is_no_better_than_guessing(loaded, examples, visual):
    shuffled = accuracy(loaded, examples, visual.roll(1, 0))
    assert shuffled["existence"][0] < 0.72
    assert shuffled["where"][0] < 0.5
    assert shuffled["relation"][0] < 0.72


def test_generate_gives_the_same_answer_and_stops(loaded, examples, visual):
    question = examples[0].questions[0]
    inputs = loaded.inputs([examples[0].image()], question.text)
    out = loaded.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    new = out[0, inputs["input_ids"].shape[1] :]
    assert len(new) == 2
    assert [loaded.decode(new)] == ask(loaded, visual[0], [question.text])


def test_the_shipped_processor_makes_the_same_inputs(loaded, examples):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(loading.FOLDER)
    image, text = examples[1].image(), "How many dogs are there?"
    made = processor(text=f"<image> {text}", images=image, return_tensors="pt")
    inputs = loaded.inputs([image], text)
    assert type(processor).__name__ == "LlavaProcessor"
    assert torch.equal(made["input_ids"], inputs["input_ids"])
    torch.testing.assert_close(made["pixel_values"], inputs["pixel_values"], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "text",
    [
        "Is there a giraffe?",
        "is there a 🐕?",
        "hello",
        "Where is the zebra?",
        "What colour is the cat?",
        "Gibt es Hunde?",
    ],
)
def test_it_says_when_it_does_not_know_a_word(loaded, visual, text):
    assert ask(loaded, visual[0], [text]) == ["unknown"]


@pytest.mark.parametrize(
    "text",
    [
        "is there a {x}?",
        "Is there a {x} in the picture",
        "Do you see a {x}?",
        "Are there any {x}s?",
        "IS THERE A {x} ?",
    ],
)
def test_natural_wordings_get_the_same_answers(loaded, examples, visual, text):
    same = []
    for example, tokens in zip(examples[:8], visual[:8], strict=True):
        named = [re.search(r"an? (\w+) in", q.text)[1] for q in example.questions if q.kind == "existence"][:2]
        plain = ask(loaded, tokens, [f"Is there a {name} in the image?" for name in named])
        same += [a == b for a, b in zip(plain, ask(loaded, tokens, [text.format(x=n) for n in named]), strict=True)]
    assert np.mean(same) > 0.85


def test_it_uses_all_answers(loaded, examples, visual):
    asked = [(n, q) for n, example in enumerate(examples) for q in example.questions if q.kind == "where"]
    said = Counter(ask(loaded, visual[n], [q.text])[0] for n, q in asked)
    assert set(said) == {"top-left", "top-right", "bottom-left", "bottom-right"}


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_images_of_all_modes(loaded, mode):
    pixels = loaded.inputs([Image.new(mode, (50, 80))], "is there a dog?")["pixel_values"]
    assert pixels.shape == (1, 3, 336, 336)
    assert torch.isfinite(pixels).all()


@pytest.mark.parametrize("size", [(1, 1), (3000, 20), (17, 4000), (336, 336)])
def test_images_of_all_sizes(loaded, size):
    assert loaded.inputs([Image.new("RGB", size)], "is there a dog?")["pixel_values"].shape == (1, 3, 336, 336)


def test_a_truncated_image_is_an_error_not_a_guess(loaded, tmp_path, examples):
    whole = tmp_path / "whole.png"
    examples[0].image().save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(OSError, match="truncated"):
        loaded.inputs([image], "is there a dog?")


def test_every_way_in_gives_the_same_pixels(loaded, tmp_path, examples):
    deep, path = np.asarray(examples[0].image().convert("L")).astype(np.uint16) * 257, tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    ways = [path, str(path), path.read_bytes(), Image.open(path), deep, (deep >> 8).astype(np.float32) / 255]
    pixels = [loaded.inputs([way], "is there a dog?")["pixel_values"] for way in ways]
    tower = scope.load("dinov2-small")
    pixels += [tower.pixels([way]) for way in ways]
    assert all(torch.equal(pixels[0], other) for other in pixels)
    assert pixels[0].std() > 0.3  # not clipped to white
    assert tower.view(path).tobytes() == loaded.view(deep).tobytes()
    with pytest.raises(ZooError, match="no image was given; tower 'dinov2-small' needs at least one"):
        tower.encode([], at="vision", needs=frozenset())
    with pytest.raises(ZooError, match=r"not a list; give \[image\]"):
        tower.encode(examples[0].image(), at="vision", needs=frozenset())


def test_a_placeholder_in_the_question_is_no_image(loaded):
    ids = loaded.inputs([], "is there <image> a dog?")["input_ids"]
    assert loaded.model.config.image_token_index not in ids


def test_it_is_the_default_model():
    assert scope.load().name == "scenes-llava"


def test_it_is_small_and_the_tower_is_the_shared_one(loaded):
    weights = loading.FOLDER / "model.safetensors"
    assert weights.stat().st_size <= 10_000_000
    assert loaded.model.config.image_seq_length == 576
    assert loaded.model.config.vision_feature_layer == -2
    tower = scope.load_tower("dinov2-small") if hasattr(scope, "load_tower") else None
    if tower is not None:
        one, two = tower.module.state_dict(), loaded.model.model.vision_tower.state_dict()
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_damaged_files_are_an_error(loaded, tmp_path, monkeypatch):
    for path in loading.FOLDER.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    monkeypatch.setattr(loading, "FOLDER", tmp_path)
    with pytest.raises(ZooError, match="damaged"):
        loading.load("package index")

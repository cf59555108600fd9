"""LLaVA-NeXT in a running engine, against Hugging Face with the same spec attached: tiles, unpadding, newlines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import Engine, HuggingFace, Prompt, engine
from samples import picture

import scope_core as scope
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.servable import recipes
from scope_adapters.serving.served import KEY, Served

SIZES = [(320, 240), (100, 300), (640, 100), (84, 84), (500, 499)]
PROMPTS = [
    *(Prompt([picture(number, size)]) for number, size in enumerate(SIZES)),
    Prompt([picture(10, (400, 100)), picture(11, (90, 200)), picture(12, (168, 168))]),
]
NO_NEWLINES = {"name": "llava_next", "newlines": "drop"}
PAPER = {"name": "llava_next", "layout": "paper2880", "padding": "competes"}
SPECS: dict[str, Any] = {
    "scope@20": "scope@20",
    "a share": "scope@25%",
    "by tile": {"recipe": "scope", "partition": "tile", "budget": {"name": "tokens", "keep": 4, "per": "tile"}},
    "without newlines": {"recipe": "scope", "budget": 20, "adapter": NO_NEWLINES},
    "as in papers": {"recipe": "scope", "budget": 20, "adapter": PAPER},
    "in the order of picks": {"recipe": "scope", "budget": 20, "adapter": NO_NEWLINES, "order": "picks"},
    "merged behind the projector": {"recipe": "tome", "budget": 20},
    "merged with rows of its own": {"recipe": "visionzip", "budget": 20, "adapter": NO_NEWLINES},
    "third-party": {"recipe": "scope", "saliency": "example.local_contrast", "budget": 20},
}


@pytest.fixture(scope="module")
def huggingface(llava_next: Path) -> HuggingFace:
    return HuggingFace.load(llava_next)


@pytest.fixture(scope="module")
def stock(llava_next: Path) -> list[list[int]]:
    """What vLLM answers without the plugin."""
    with engine(llava_next, None) as running:
        return running.answers(*PROMPTS)


@pytest.fixture(scope="module")
def full(llava_next: Path, stock: list[list[int]]) -> Iterator[Engine]:
    """Keeps everything unless a request asks for less; reads prompts 50 tokens at a time."""
    with engine(llava_next, "scope@100%", max_num_batched_tokens=50) as running:
        yield running


def test_a_full_budget_is_vllm_without_the_plugin(full: Engine, stock: list[list[int]]) -> None:
    assert len({tuple(tokens) for tokens in stock}) == len(stock)
    assert full.answers(*PROMPTS) == stock


@pytest.mark.parametrize("name", SPECS)
def test_specs_answer_as_on_hugging_face(full: Engine, huggingface: HuggingFace, name: str) -> None:
    """All sizes in one batch, then one by one; the rows are those of Hugging Face where rounding does not decide."""
    spec, compared = SPECS[name], 0
    outputs = full.ask(*(Prompt(prompt.images, spec) for prompt in PROMPTS))
    answers = [list(output.outputs[0].token_ids) for output in outputs]
    kept = iter(full.kept)
    for prompt, tokens in zip(PROMPTS, answers, strict=True):
        mine = [next(kept) for _ in prompt.images]
        if huggingface.firm(prompt, spec):
            assert (tokens, mine) == huggingface.answer(prompt, spec)
            compared += 1
    assert compared >= 4
    assert [full.answers(Prompt(prompt.images, spec))[0] for prompt in PROMPTS] == answers


def test_recipes_that_can_be_served_answer_as_on_hugging_face(full: Engine, huggingface: HuggingFace) -> None:
    names = recipes(scope.Pruner("scope@20"), geometry_of(huggingface.model.config))
    assert {"scope", "divprune", "vispruner", "tome", "downsample", "random", "fastervlm"} <= set(names)
    compared = set()
    for number, name in enumerate(names):
        spec, prompt = {"recipe": name, "budget": 0.25}, Prompt([picture(100 + number, (300 + 20 * number, 260))])
        if huggingface.firm(prompt, spec):
            answers = full.answers(Prompt(prompt.images, spec))
            assert (answers[0], full.kept) == huggingface.answer(prompt, spec), name
            compared.add(name)
    assert len(compared) >= len(names) - 3


def test_prompts_are_as_long_as_was_planned(full: Engine, huggingface: HuggingFace) -> None:
    """Before any picture is there: `Pruner.plan` on Hugging Face's model says how many placeholders vLLM will have."""
    pruner, placeholder = scope.Pruner("scope@20"), huggingface.model.config.image_token_id
    for prompt in PROMPTS:
        plan = pruner.plan([(image.height, image.width) for image in prompt.images], model=huggingface.model)
        (output,) = full.ask(Prompt(prompt.images, "scope@20"))
        newlines = sum(image.separators for image in plan.layout.images)
        assert output.prompt_token_ids.count(placeholder) == plan.total + newlines


def test_memory_is_sized_by_the_picture_that_gets_most(llava_next: Path, huggingface: HuggingFace) -> None:
    """Not by the first of those that keep as many: a tall one has more newlines, and the largest more tiles."""
    config = huggingface.model.config
    for spec, size in (("scope@20", (252, 84)), ("scope@100%", (168, 168))):
        setattr(config, KEY, spec)
        assert Served(config).largest == size
    setattr(config, KEY, {"recipe": "scope", "budget": 20, "adapter": NO_NEWLINES})
    assert Served(config).largest == (168, 168)
    delattr(config, KEY)


def test_an_engine_of_its_own_budget(llava_next: Path, huggingface: HuggingFace) -> None:
    with engine(llava_next, "scope@20") as running:
        wanted = [huggingface.answer(prompt, "scope@20") for prompt in PROMPTS]
        assert running.answers(*PROMPTS) == [tokens for tokens, _ in wanted]
        assert running.kept == [rows for _, kept in wanted for rows in kept]
        with pytest.raises(ValueError, match="started for"):
            running.answers(Prompt(PROMPTS[0].images, 30))
        with pytest.raises(ValueError, match="keeps 200 per image, but image 0 has"):
            running.answers(Prompt(PROMPTS[0].images, 200))
        assert running.answers(PROMPTS[0]) == [wanted[0][0]]

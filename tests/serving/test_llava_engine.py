"""LLaVA-1.5 in a running engine, against Hugging Face with the same spec attached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import Engine, HuggingFace, Prompt, engine
from PIL import Image
from samples import picture
from samples import prompt as text

import scope_core as scope
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.servable import recipes

ONE, TWO, PAIR = [picture(1)], [picture(2, (200, 300))], [picture(3), picture(4, (640, 100))]
PROMPTS = (Prompt(ONE), Prompt(TWO), Prompt(PAIR))
CONTRAST = {"recipe": "scope", "saliency": "example.local_contrast", "budget": 64}
"""Of docs/examples/scope-example-plugin, which is a distribution of its own."""


@pytest.fixture(scope="module")
def huggingface(llava: Path) -> HuggingFace:
    return HuggingFace.load(llava)


@pytest.fixture(scope="module")
def stock(llava: Path) -> list[list[int]]:
    """What vLLM answers without the plugin."""
    with engine(llava, None) as running:
        return running.answers(*PROMPTS)


@pytest.fixture(scope="module")
def full(llava: Path, stock: list[list[int]]) -> Iterator[Engine]:
    """Keeps everything unless a request asks for less. Prompts are read in parts shorter than a picture."""
    with engine(llava, "scope@100%", max_num_batched_tokens=160) as running:
        yield running


def agree(running: Engine, huggingface: HuggingFace, prompt: Prompt, spec: Any) -> None:
    """The same tokens, and the same rows of each picture that was encoded."""
    tokens, kept = huggingface.answer(prompt, spec)
    assert running.answers(prompt) == [tokens]
    assert running.kept in (kept, [])  # nothing is encoded where a picture is remembered


def test_answers_depend_on_the_picture(stock: list[list[int]]) -> None:
    assert len({tuple(tokens) for tokens in stock}) == len(stock)


def test_a_full_budget_is_vllm_without_the_plugin(full: Engine, stock: list[list[int]]) -> None:
    assert full.answers(*PROMPTS) == stock


def test_vllm_without_the_plugin_is_hugging_face(stock: list[list[int]], huggingface: HuggingFace) -> None:
    assert stock == [huggingface.answer(prompt)[0] for prompt in PROMPTS]


def test_recipes_that_can_be_served_answer_as_on_hugging_face(full: Engine, huggingface: HuggingFace) -> None:
    """Each of them on pictures that the engine has not seen, one and two in a prompt."""
    pruner = scope.Pruner("scope@64")
    names = recipes(pruner, geometry_of(huggingface.model.config))
    assert {"scope", "divprune", "visionzip", "vispruner", "tome", "downsample", "random", "holov"} <= set(names)
    wrong, compared = [], set()
    for number, name in enumerate(names):
        spec = {"recipe": name, "budget": 0.25}
        for images in ([picture(10 + number)], [picture(40 + number), picture(70 + number, (100, 300))]):
            asked = Prompt(images)
            (output,) = full.ask(Prompt(images, spec))
            placeholders = output.prompt_token_ids.count(huggingface.model.config.image_token_id)
            assert placeholders == len(images) * 144, name
            if not huggingface.firm(asked, spec):
                continue
            compared.add(name)
            tokens, kept = huggingface.answer(asked, spec)
            if list(output.outputs[0].token_ids) != tokens or full.kept != kept:
                wrong.append((name, len(images), full.kept == kept))
    assert not wrong
    assert len(compared) >= 0.8 * len(names)  # some go by ranks that the last digits decide, as VisPruner does


@pytest.mark.parametrize(
    "spec",
    [
        {"recipe": "prumerge", "budget": 64},  # keys, rows of its own
        {"recipe": "scope", "budget": 64, "saliency": {"name": "received_attention", "layer": 1}},
        {"recipe": "scope", "budget": 64, "saliency": {"name": "cls_attention", "heads": "max"}, "order": "picks"},
        {"recipe": "scope", "budget": 64, "dtype": "as_is", "at": "projected"},
    ],
    ids=["keys", "received attention", "heads apart, in the order of picks", "behind the projector"],
)
def test_other_signals_and_orders_answer_as_on_hugging_face(full: Engine, huggingface: HuggingFace, spec: Any) -> None:
    prompt = Prompt([picture(13), picture(14)])
    assert huggingface.firm(prompt, spec)
    tokens, kept = huggingface.answer(prompt, spec)
    assert (full.answers(Prompt(prompt.images, spec)), full.kept) == ([tokens], kept)


def test_third_party_parts_answer_as_on_hugging_face(full: Engine, huggingface: HuggingFace) -> None:
    agree(full, huggingface, Prompt([picture(5)], CONTRAST), CONTRAST)


def test_budgets_mix_in_a_batch_and_what_is_remembered_is_told_apart(full: Engine, huggingface: HuggingFace) -> None:
    """Twice, so that pictures and prefixes are remembered the second time, for the budget that they were made for."""
    budgets = ["", 144, "scope@64", 7, {"budget": {"name": "ratio", "keep_ratio": 0.5}}]
    same_as = ["scope@100%", "scope@144", "scope@64", "scope@7", "scope@50%"]
    asked = [Prompt(images, budget) for images in (ONE, PAIR) for budget in budgets]
    wanted = [huggingface.answer(Prompt(images), spec)[0] for images in (ONE, PAIR) for spec in same_as]
    assert full.answers(*asked) == wanted
    again = full.ask(*asked)
    assert [list(output.outputs[0].token_ids) for output in again] == wanted
    assert not full.kept
    assert sum(output.num_cached_tokens > 0 for output in again) >= 6


def test_a_clients_own_names_for_pictures_do_not_mix_up_budgets(full: Engine, huggingface: HuggingFace) -> None:
    for budget in ("scope@48", "scope@24", ""):
        prompt = Prompt([picture(6)], budget, uuids=["mine"])
        assert full.answers(prompt) == [huggingface.answer(prompt, budget or "scope@100%")[0]]


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (1, 1), "red"),
        Image.new("RGB", (3000, 2), "blue"),
        picture(7).convert("L"),
        picture(8).convert("RGBA"),
        picture(9).convert("P"),
    ],
    ids=["a pixel", "a line", "grey", "alpha", "palette"],
)
def test_odd_pictures(full: Engine, image: Image.Image) -> None:
    (output,) = full.ask(Prompt([image], 32))
    assert output.prompt_token_ids.count(4) == 32


BAD = {
    -1: "greater than or equal to 0",
    0: "would keep no token",
    577: "keeps 577 per image, but image 0 has 576",
    10**12: "1000000000000",
    1.5: "less than or equal to 1",
    True: "not a spec",
    "sope@32": "did you mean 'scope'",
    "scope@-3": "greater than or equal to 0",
    "engine.yaml": "is a file",
    "fastv@32": "cannot be pruned at 'decoder",
    "mmtok@32": "needs text.embeddings",
    "": "recipe|spec",
}


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_bad_requests_are_refused_and_the_engine_goes_on(full: Engine, value: Any) -> None:
    wrong = Prompt([picture(11)], value)
    given = wrong.for_vllm() | {"mm_processor_kwargs": {"visual_pruner": value}}
    with pytest.raises(ValueError, match=BAD[value]):
        full.llm.generate([given], use_tqdm=False)
    assert len(full.answers(Prompt(ONE, 16))) == 1


@pytest.mark.parametrize(
    "value",
    [
        [1],
        [],
        {"budget": {"nope": 1}},
        {"budget": -1},
        {"saliency": 3},
        {"adapter": "qwen2_vl"},
        float("nan"),
    ],
    ids=repr,
)
def test_bad_tables_are_refused_and_the_engine_goes_on(full: Engine, value: Any) -> None:
    given = Prompt([picture(11)]).for_vllm() | {"mm_processor_kwargs": {"visual_pruner": value}}
    with pytest.raises(ValueError, match="visual_pruner"):
        full.llm.generate([given], use_tqdm=False)
    assert len(full.answers(Prompt(ONE, 16))) == 1


def test_options_that_make_other_tiles_are_refused(full: Engine) -> None:
    given = Prompt([picture(12)]).for_vllm() | {"mm_processor_kwargs": {"crop_size": {"height": 224, "width": 224}}}
    with pytest.raises(ValueError, match="image processor"):
        full.llm.generate([given], use_tqdm=False)
    assert len(full.answers(Prompt(ONE, 16))) == 1


def test_an_engine_with_a_third_party_spec_and_nothing_remembered(llava: Path, huggingface: HuggingFace) -> None:
    """And no more pictures in the tower at once than without pruning, whatever the scheduler hands over."""
    seen: list[int] = []

    def watch(model: Any) -> None:
        model.vision_tower.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))

    options: dict[str, Any] = {"mm_processor_cache_gb": 0, "enable_prefix_caching": False, "enable_mm_embeds": True}
    with engine(llava, CONTRAST, max_num_batched_tokens=1200, **options) as running:
        running.llm.apply_model(watch)
        wanted = [huggingface.answer(prompt, CONTRAST) for prompt in PROMPTS]
        for _ in range(2):
            assert running.answers(*PROMPTS) == [tokens for tokens, _ in wanted]
            assert running.kept == [rows for _, kept in wanted for rows in kept]
        crowd = [Prompt([picture(20 + number)]) for number in range(8)]
        assert running.answers(*crowd) == [huggingface.answer(prompt, CONTRAST)[0] for prompt in crowd]
        assert max(seen) == 2
        with pytest.raises(ValueError, match="started for 64"):
            running.answers(Prompt(ONE, 65))
        agree(running, huggingface, Prompt(ONE, 16), CONTRAST | {"budget": 16})
        # rows that the client made itself are read as they are, of different lengths in one batch too
        asked = list(zip(PROMPTS[:2], ("scope@9", "scope@30"), strict=True))
        made = [huggingface.answer(prompt, spec) for prompt, spec in asked]
        rows = [huggingface.rows(asked[i][0].images[0], made[i][1][0])[None] for i in range(2)]
        outputs = running.generate([{"prompt": text(1), "multi_modal_data": {"image": own}} for own in rows])
        assert [list(output.outputs[0].token_ids) for output in outputs] == [tokens for tokens, _ in made]

"""The checkpoints prove something: what they answer depends on the image and on which of its tokens are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engines import Answer
from samples import picture, prompt

import scope_core as scope

FAMILIES = {"llava": "LlavaForConditionalGeneration", "llava_next": "LlavaNextForConditionalGeneration"}


class Answering:
    """A checkpoint on Hugging Face."""

    def __init__(self, family: str, folder: Path) -> None:
        import transformers

        self.processor = transformers.AutoProcessor.from_pretrained(folder)
        self.model = getattr(transformers, FAMILIES[family]).from_pretrained(folder).eval()

    def __call__(self, *images, spec: str = "") -> tuple[int, ...]:
        """Ten tokens."""
        inputs = self.processor(text=prompt(len(images)), images=list(images), return_tensors="pt")
        settings = {"max_new_tokens": 10, "do_sample": False}
        if spec:
            with scope.Pruner(spec).attach(self.model), torch.no_grad():
                out = self.model.generate(**inputs, **settings)
        else:
            with torch.no_grad():
                out = self.model.generate(**inputs, **settings)
        return tuple(out[0, inputs["input_ids"].shape[1] :].tolist())

    def words(self, tokens: tuple[int, ...]) -> str:
        return self.processor.tokenizer.decode(tokens)


@pytest.fixture(params=sorted(FAMILIES))
def answer(request: pytest.FixtureRequest) -> Answering:
    return Answering(request.param, request.getfixturevalue(request.param))


def test_answers_depend_on_the_image(answer: Answering) -> None:
    answers = {answer(picture(seed)) for seed in range(8)}
    assert len(answers) >= 7
    assert len({tokens[0] for tokens in answers}) >= 3  # the first token already, which no earlier answer decides
    for tokens in answers:
        assert len(tokens) == 10  # the end is never the likeliest token
        assert answer.words(tokens).split(), "whole words, so that texts can be compared"


def test_answers_depend_on_the_order_of_images(answer: Answering) -> None:
    assert answer(picture(1), picture(2)) != answer(picture(2), picture(1))


def test_answers_depend_on_how_many_tokens_are_kept_and_on_which(answer: Answering) -> None:
    image = picture(3)
    by_count = {answer(image, spec=spec) for spec in ("", "scope@24", "scope@12", "scope@4")}
    assert len(by_count) >= 3
    same_count = ("scope@12", "random@12", "uniform_grid@12", "top_k_attention@12", "divprune@12")
    assert len({answer(image, spec=spec) for spec in same_count}) >= 4


def test_the_tokenizer_reads_anything_and_gives_it_back(answer: Answering) -> None:
    text = "Größe: 3 × “x”\n\tdabal fuzes?"
    ids = answer.processor.tokenizer(text)["input_ids"]
    assert answer.processor.tokenizer.decode(ids) == text


def test_the_chat_template_makes_our_prompt(answer: Answering) -> None:
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "What is in the picture?"}]
    chat = [{"role": "user", "content": content}]
    assert answer.processor.apply_chat_template(chat, add_generation_prompt=True) == prompt(2)


def test_answers_are_compared_up_to_the_first_equally_likely_tokens() -> None:
    answer = Answer([1, 2, 3], 2)
    assert answer == [1, 2, 9]
    assert answer != [1, 9, 3]
    assert answer != [1, 2]
    plain = [[1, 2, 9]], [4]
    assert plain == ([answer], [4])
    other = [[1, 9, 3]]
    assert other != [answer]

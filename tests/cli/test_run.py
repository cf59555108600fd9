"""``scope run``: a small LLaVA with random weights, baseline beside pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cli.conftest import Ran

MODEL = ("--model", "fake-model", "-q", "What is it?", "--max-new-tokens", "4")


def test_json_holds_both_answers_and_the_receipt(fake: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "kept.png"
    ran = fake("run", "demo:coffee", "demo:chelsea", *MODEL, "--spec", "scope@4", "--json", "--out", out)
    assert ran.code == 0, ran.stderr
    facts = ran.json
    assert (facts["model"], facts["spec"], facts["question"]) == ("fake-model", "scope@4", "What is it?")
    before, after = facts["baseline"], facts["pruned"]
    assert (before["visual_tokens"], after["visual_tokens"]) == (32, 8)
    assert before["prompt_tokens"] - after["prompt_tokens"] == 24
    assert before["prompt_tokens"] == 1 + 32 + len("What is it?")
    for answer in (before, after):
        assert answer["new_tokens"] == len(answer["text"].split()) == 4
        assert 0 < answer["first_token_ms"] <= answer["total_ms"]
        assert answer["runs"] == 3
    assert [(image["tokens"], image["kept"]) for image in facts["receipt"]["images"]] == [(16, 4), (16, 4)]
    assert facts["notes"] == ["its weights are random"]
    assert "warning: fake-model: its weights are random" in ran.stderr
    with Image.open(out) as page:
        assert page.size[0] == 36 * 2 + 2 * 480 + 28


def test_all_tokens_kept_give_the_same_answer(fake: Callable[..., Ran]) -> None:
    ran = fake("run", "demo:coffee", *MODEL, "--keep", 16, "--no-warm-up", "--json")
    assert ran.json["baseline"]["text"] == ran.json["pruned"]["text"]
    assert ran.json["pruned"]["visual_tokens"] == 16


def test_the_table(fake: Callable[..., Ran]) -> None:
    ran = fake("run", "demo:coffee", *MODEL)
    assert ran.code == 0
    for wanted in ("baseline", "scope@4", "visual tokens 16 4 25%", "first token, ms", "16 -> 4 visual tokens"):
        assert wanted in ran.words


@pytest.mark.parametrize(
    ("args", "code", "wanted"),
    [
        (["--model", "fake-model"], 2, "--question"),
        (["--model", "fake-tower", "-q", "?"], 3, "is a tower, not a model"),
        (["--model", "fake-model", "-q", "?", "--keep", "17"], 3, "16 tokens"),
        (["--model", "fake-model", "-q", "?", "--max-new-tokens", "0"], 2, "max-new-tokens"),
        (["--model", "fake-model", "-q", "?", "--spec", "scop@3"], 3, "did you mean 'scope'?"),
    ],
)
def test_errors(fake: Callable[..., Ran], args: list[str], code: int, wanted: str) -> None:
    ran = fake("run", "demo:coffee", *args)
    assert ran.code == code
    assert wanted in ran.stderr


def test_a_model_that_cannot_say_what_it_sees_is_not_drawn(fake: Callable[..., Ran], tmp_path: Path) -> None:
    ran = fake("run", "demo:coffee", "--model", "fake-blind", "-q", "?", "--out", tmp_path / "kept.png")
    assert ran.code == 3
    assert "omit --out" in ran.stderr

"""``scope plan``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran


def test_images(scope_: Callable[..., Ran]) -> None:
    facts = scope_("plan", "scope@25%", "--tokens", "576,100", "--json").json
    assert [image["kept"] for image in facts["images"]] == [144, 25]
    assert (facts["tokens"], facts["kept"], facts["keep_ratio"], facts["exact"]) == (676, 169, 0.25, True)
    words = scope_("plan", "scope@25%", "--tokens", "576", "--tokens", "100").words
    assert "0 image 0 576 144 25%" in words
    assert "total 676 169 25%" in words


def test_tiles_are_apportioned_exactly(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "tiles.yaml"
    spec.write_text("recipe: scope\nbudget: 640\npartition: tile\n")
    facts = scope_("plan", spec, "--tiles", "576+576+576,700", "--json").json
    assert [group["kept"] for group in facts["groups"]] == [214, 213, 213, 640]
    assert [image["kept"] for image in facts["images"]] == [640, 640]
    words = scope_("plan", spec, "--tiles", "576+576+576").words
    assert "image 0, tile 2 576 213" in words
    assert "image 0: 1728 to 640" in words


def test_a_shared_budget_has_no_count_per_image(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "prompt.yaml"
    spec.write_text("recipe: scope\nbudget: {name: tokens, keep: 64, per: total}\npartition: prompt\n")
    facts = scope_("plan", spec, "--tokens", "576,576", "--json").json
    assert [image["kept"] for image in facts["images"]] == [None, None]
    assert facts["kept"] == 64
    assert "images 0, 1 together" in scope_("plan", spec, "--tokens", "576,576").words


def test_what_similarities_take_is_said(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    facts = scope_("plan", "scope@64", "--tokens", "20000", "--json").json
    assert (facts["memory"], facts["in_blocks"]) == (1_600_000_000, True)
    words = scope_("plan", "scope@64", "--tokens", "20000")
    assert "similarities take 1.6 GB while selecting" in words.stderr
    assert "in blocks, without their matrix, where there is no room" in words.stderr
    spec = tmp_path / "little.yaml"
    spec.write_text("recipe: scope\nbudget: 64\nmemory: 0.5\n")
    assert "computed in blocks: their matrix is never made" in scope_("plan", spec, "--tokens", "20000").stderr
    spec.write_text("recipe: scope\nbudget: 64\nmemory: 0.5\noptimizer: stochastic\n")
    words = scope_("plan", spec, "--tokens", "20000")
    assert "1.6 GB" in words.stderr
    assert "blocks" not in words.stderr


def test_a_model_says_how_many_tokens_pictures_become(fake: Callable[..., Ran]) -> None:
    facts = fake("plan", "scope@4", "--model", "fake-model", "--size", "300x200,28x28", "--json").json
    assert [(image["tokens"], image["kept"]) for image in facts["images"]] == [(16, 4), (16, 4)]


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["--tokens", "many"], "'many' is no number of tokens"),
        (["--tokens", "5", "--size", "3x4"], "give --tokens, or --model and --size, not both"),
        (["--tokens", "5", "--model", "fake-model"], "give --tokens, or --model and --size, not both"),
        (["--size", "3x4"], "'--size': also needs --model NAME; `scope models` lists them"),
        (["--model", "fake-model"], "'--model': also needs --size HEIGHTxWIDTH, e.g. 480x640"),
        ([], "give --tokens N, e.g. 576; or --model and --size"),
        (["--model", "fake-model", "--size", "big"], "HEIGHTxWIDTH"),
    ],
)
def test_wrong_usage(fake: Callable[..., Ran], args: list[str], wanted: str) -> None:
    ran = fake("plan", "scope@4", *args)
    assert ran.code == 2
    assert wanted in ran.stderr


def test_a_misspelt_model_is_told_first(fake: Callable[..., Ran]) -> None:
    ran = fake("plan", "scope@4", "--model", "fake-modle")
    assert ran.code == 3
    assert "no model is called 'fake-modle' (did you mean 'fake-model'?)" in ran.stderr


def test_a_model_that_cannot_be_had_is_not_needed(fake: Callable[..., Ran]) -> None:
    ran = fake("plan", "scope@4", "--model", "fake-gone", "--size", "28x28")
    assert ran.code == 4
    assert "'far away' is out of reach" in ran.stderr
    assert "Counts of tokens need no model: give e.g. --tokens 576" in ran.stderr

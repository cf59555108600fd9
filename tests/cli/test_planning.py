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


def test_a_model_says_how_many_tokens_pictures_become(fake: Callable[..., Ran]) -> None:
    facts = fake("plan", "scope@4", "--model", "fake-model", "--size", "300x200,28x28", "--json").json
    assert [(image["tokens"], image["kept"]) for image in facts["images"]] == [(16, 4), (16, 4)]


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["--tokens", "many"], "'many' is no number of tokens"),
        (["--tokens", "5", "--size", "3x4"], "give --tokens, or --model and --size"),
        (["--size", "3x4"], "give --tokens, or --model and --size"),
        (["--model", "fake-model"], "give --tokens, or --model and --size"),
        (["--model", "fake-model", "--size", "big"], "HEIGHTxWIDTH"),
    ],
)
def test_wrong_usage(fake: Callable[..., Ran], args: list[str], wanted: str) -> None:
    ran = fake("plan", "scope@4", *args)
    assert ran.code == 2
    assert wanted in ran.stderr

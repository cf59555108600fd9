"""``scope plan``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import scope_core as scope
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


def test_videos(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "frames.yaml"
    spec.write_text("recipe: divprune\npartition: frame\nbudget: {name: ratio, keep_ratio: 0.25, per: video}\n")
    facts = scope_("plan", spec, "--tokens", "576", "--video", "5x14x14,3x10", "--json").json
    assert [(item["tokens"], item["kept"], item["frames"]) for item in facts["images"]] == [
        (576, 144, []),
        (980, 245, [196] * 5),
        (30, 8, [10] * 3),
    ]
    assert [group["kept"] for group in facts["groups"]] == [144, *[49] * 5, 3, 3, 2]
    words = scope_("plan", spec, "--tokens", "576", "--video", "3x10").words
    assert "video 1, frame 2 10 2" in words
    assert "image 0: 576 to 144, video 1: 30 to 8" in words
    assert "0 video 0, all 16 frames 3136 784 25%" in scope_("plan", "floc@25%", "--video", "16x196").words


@pytest.mark.parametrize("text", ["16", "0x196", "16x0", "16x14x14x3", "x196"])
def test_what_is_no_video_is_refused(scope_: Callable[..., Ran], text: str) -> None:
    ran = scope_("plan", "floc@25%", "--video", text)
    assert ran.code == 2
    assert f"'{text}' is not a video; write FRAMESxTOKENS, e.g. 16x196, or FRAMESxROWSxCOLUMNS" in ran.stderr


def test_a_shared_budget_has_no_count_per_image(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    spec = tmp_path / "prompt.yaml"
    spec.write_text("recipe: scope\nbudget: {name: tokens, keep: 64, per: total}\npartition: prompt\n")
    facts = scope_("plan", spec, "--tokens", "576,576", "--json").json
    assert [image["kept"] for image in facts["images"]] == [None, None]
    assert facts["kept"] == 64
    assert "images 0, 1 together" in scope_("plan", spec, "--tokens", "576,576").words


def test_what_similarities_take_is_said(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    facts = scope_("plan", "scope@64", "--tokens", "20000,100", "--json").json
    assert (facts["memory"], facts["in_blocks"], facts["limit"]) == (1_600_000_000, True, None)
    assert facts["blocks"] == {"tokens": 20000, "fixed": 2**24, "per_width": 240_000}
    words = scope_("plan", "scope@64", "--tokens", "20000")
    assert "matrices take 1.6 GB during selection; with less memory, in blocks" in words.stderr
    assert "17 MB, and 240 MB for each 1000 numbers of a vector" in words.stderr
    facts = scope_("plan", write(tmp_path, "memory: 0.5"), "--tokens", "20000", "--json").json
    assert (facts["memory"], facts["in_blocks"], facts["limit"], facts["refused"]) == (0, True, 2**29, None)
    words = scope_("plan", write(tmp_path, "memory: 0.5"), "--tokens", "20000")
    assert "in blocks, without their matrix. On the CPU that takes 17 MB, and 240 MB for each 1000" in words.stderr
    assert "`memory: 0.5` allows 537 MB" in words.stderr
    words = scope_("plan", write(tmp_path, "memory: 2\noptimizer: stochastic"), "--tokens", "20000")
    assert "matrices take 1.6 GB during selection; `memory: 2` allows 2.1 GB" in words.stderr
    assert "blocks" not in words.stderr


def write(folder: Path, options: str) -> Path:
    spec = folder / "spec.yaml"
    spec.write_text(f"recipe: scope\nbudget: 64\n{options}\n")
    return spec


CHAIN = (
    "selector: {name: chain, shares: [1, 1], stages: [{name: composite, coverage: modular, combiner: saliency_only}, "
    "{name: composite, coverage: log_det, memory: 0.3}]}"
)
THEN = 'then: [{at: "decoder[2]", recipe: scope, budget: 32, coverage: log_det, memory: 1.0e-5}]'


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            "coverage: log_det\nmemory: 0.3",
            "4.8 GB for matrices of 20000 x 20000, and `memory: 0.3` allows 322 MB; block-wise selection is not "
            "possible here: coverage 'log_det'",
        ),
        (
            "coverage: log_det\nmemory: 0.3\npartition: tile",
            "divide the tokens into groups of at most 5181 (`partition: {",
        ),
        (CHAIN, "`memory: 0.3` allows 322 MB"),
        (THEN, "a group of 64 tokens: similarity 'cosine'"),
        ("optimizer: stochastic\nmemory: 0.3", "the optimizer needs the whole matrix"),
        ("coverage: log_det\noptimizer: {path: blocks}", "path 'blocks' is not possible here: coverage 'log_det'"),
        ("memory: 0.0001", "even without the matrix of 'cosine'"),
    ],
)
def test_what_the_spec_itself_rules_out_is_an_error(
    scope_: Callable[..., Ran], tmp_path: Path, options: str, wanted: str
) -> None:
    ran = scope_("plan", write(tmp_path, options), "--tokens", "20000")
    assert (ran.code, ran.stdout) == (3, "")
    assert wanted in " ".join(ran.stderr.split())


def test_what_the_spec_rules_out_is_what_selecting_refuses(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    """The number of tokens that is said to fit fits, and one more does not."""
    spec = write(tmp_path, "coverage: log_det\nmemory: 0.0001")
    at_most = re.search(r"at most (\d+)", scope_("plan", spec, "--tokens", "400").stderr)
    assert at_most is not None
    most = int(at_most[1])
    assert scope_("plan", spec, "--tokens", most).code == 0
    assert scope_("plan", spec, "--tokens", most + 1).code == 3
    features, pruner = torch.rand(1, most + 1, 4), scope.Pruner(spec)
    assert pruner.select(features[:, :most], saliency=torch.rand(1, most)).counts == (64,)
    with pytest.raises(scope.TooLargeError, match=f"at most {most} "):
        pruner.select(features, saliency=torch.rand(1, most + 1))


def test_pieces_of_a_quota_are_not_judged_by_their_sum(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    inner = "{name: composite, coverage: log_det, memory: 0.3}"
    spec = write(tmp_path, f"selector: {{name: quota, saliency: uniform, selector: {inner}}}")
    assert scope_("plan", spec, "--tokens", "20000").code == 0


def test_what_this_machine_has_no_room_for_is_a_warning(
    scope_: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scope_core.memory.free_memory", lambda device="cpu": 10**9)
    spec = write(tmp_path, "coverage: log_det")
    ran = scope_("plan", spec, "--tokens", "20000")
    assert (ran.code, "total" in ran.stdout) == (0, True)
    said = "take 4.8 GB for matrices of 20000 x 20000, and 1.0 GB are free"
    assert "warning: `select` would refuse this on this machine now:" in ran.stderr
    assert said in " ".join(ran.stderr.split())
    assert said in scope_("plan", spec, "--tokens", "20000", "--json").json["refused"]
    for fits in (("plan", spec, "--tokens", "2000"), ("plan", "scope@64", "--tokens", "20000")):
        assert "warning" not in scope_(*fits).stderr
        assert scope_(*fits, "--json").json["refused"] is None


def test_a_model_says_how_many_tokens_pictures_become(fake: Callable[..., Ran]) -> None:
    facts = fake("plan", "scope@4", "--model", "fake-model", "--size", "300x200,28x28", "--json").json
    assert [(image["tokens"], image["kept"]) for image in facts["images"]] == [(16, 4), (16, 4)]


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["--tokens", "many"], "'many' is not a token count"),
        (["--tokens", "5", "--size", "3x4"], "give --tokens, or --model and --size, not both"),
        (["--tokens", "5", "--model", "fake-model"], "give --tokens, or --model and --size, not both"),
        (["--size", "3x4"], "'--size': also needs --model NAME; `scope models` lists them"),
        (["--model", "fake-model"], "'--model': also needs --size HEIGHTxWIDTH, e.g. 480x640"),
        ([], "give --tokens N, e.g. 576; --video FxN, e.g. 16x196; or --model and"),
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
    assert "Or plan without a model, e.g. --tokens 576" in ran.stderr

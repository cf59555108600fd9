"""``scope calibrate``: from a folder of images to a file that a spec names, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import scope_core as scope
from cli.conftest import Ran
from scope_core.cli.photos import demo_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    for name in ("coffee", "chelsea"):
        shutil.copy(demo_path(name), made)
    (made / "notes.txt").write_text("not an image")
    return made


def test_a_prior_goes_from_a_folder_into_a_spec(fake: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    file, spec = tmp_path / "prior.json", tmp_path / "mine.yaml"
    ran = fake("calibrate", folder, "--tower", "fake-tower", "--out", file)
    assert ran.code == 0
    assert "12 x 12 places" in ran.words
    assert "FakeTower, 2 images" in ran.words
    made = json.loads(file.read_text())
    assert (made["kind"], made["saliency"]["name"], made["images"]) == ("prior", "cls_attention", 2)
    spec.write_text(f"recipe: top_k_attention\nsaliency: {{name: debiased, of: cls_attention, file: {file}}}\n")
    shown = fake("select", "demo:rocket", "--tower", "fake-tower", "--spec", spec, "--keep", 9, "--json")
    assert len(shown.json["images"][0]["selections"][0]["picks"]) == 9
    file.write_text(file.read_text().replace("FakeTower", "another"))
    shown = fake("select", "demo:rocket", "--tower", "fake-tower", "--spec", spec, "--keep", 9)
    assert shown.code == 3
    assert "measured on 'another', not on 'FakeTower'" in shown.stderr


def test_head_weights_inside_a_model(fake: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "heads.json"
    words = ("--model", "fake-model", "-q", "what?", "--kind", "heads", "--saliency", "head_relevance")
    ran = fake("calibrate", folder, *words, "--out", file, "--json")
    assert ran.code == 0
    assert ran.json["shape"] == [len(ran.json["values"])]
    assert sum(ran.json["values"]) == pytest.approx(1)
    assert "a language model of" in ran.json["architecture"]
    assert scope.Pruner("hawk", saliency={"file": str(file)}, at="decoder[1]").needs


def test_shares_of_layers_go_from_a_folder_into_a_spec(fake: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    file, spec = tmp_path / "layers.json", tmp_path / "mine.yaml"
    source = "{name: prompt_attention, layer: 1, queries: text}"
    words = ("--model", "fake-model", "-q", "what is this?", "--kind", "layers", "--saliency", source)
    ran = fake("calibrate", folder, *words, "--out", file)
    assert ran.code == 0
    assert "layers and thresholds" in ran.words
    made = json.loads(file.read_text())
    layers = len(made["values"]) + 1
    assert f"a language model of {layers} layers" in made["architecture"]
    spec.write_text(
        f"saliency: {{name: prompt_attention, layer: 0}}\ncoverage: modular\ncombiner: saliency_only\n"
        f"optimizer: top_k\nat: decoder[1]\nbudget: {{name: fitted, keep: 10, layers: {layers}, file: {file}}}\n"
    )
    plan = scope.Pruner(str(spec)).plan([16])
    assert 16 + (layers - 1) * plan.total <= 10 * layers < 16 + (layers - 1) * (plan.total + 1)
    shown = fake("run", "demo:rocket", "-q", "what?", "--model", "fake-model", "--spec", spec)
    assert shown.code == 0, shown.stderr
    more = {**made, "values": [*made["values"], made["values"][-1]]}
    file.write_text(json.dumps(more))
    spec.write_text(spec.read_text().replace(f"layers: {layers}", f"layers: {layers + 1}"))
    shown = fake("run", "demo:rocket", "-q", "what?", "--model", "fake-model", "--spec", spec)
    assert shown.code == 3
    assert f"of {layers + 1} layers, but this one has {layers}" in shown.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--tower", "fake-tower", "--model", "fake-model"), 2, "not both"),
        (("--model", "fake-model"), 2, "also needs a question"),
        (("-q", "what?"), 2, "also needs --model"),
        (("--tower", "fake-towr"), 3, "fake-tower"),
        (("--tower", "fake-tower", "--kind", "head"), 2, "prior"),
        (("--tower", "fake-tower", "--saliency", "cls_atention"), 3, "did you mean 'cls_attention'"),
        (("--tower", "fake-tower", "--saliency", "[1, 2]"), 3, "neither a name nor a table"),
        (("--tower", "fake-tower", "--saliency", "{layer: 2}"), 3, "has no name"),
        (("--tower", "fake-tower", "--saliency", "cls_attention", "--kind", "heads"), 3, "no weights for heads; those"),
        (("--tower", "fake-tower", "--saliency", "mean_distance", "--kind", "heads"), 3, "weighted_heads"),
        (("--tower", "fake-tower", "--saliency", "information_gain"), 3, "layer"),
        (("--tower", "fake-tower", "--kind", "layers"), 2, "layers also needs --model"),
        (("--model", "fake-model", "-q", "what?", "--kind", "layers"), 2, "and --saliency with a layer"),
        (("--model", "fake-model", "-q", "what?", "--kind", "layers", "--saliency", "cls_attention"), 3, "same at all"),
        (("--tower", "fake-bare",), 3, "--saliency takes one of these: received_attention"),
        (("--tower", "fake-no-grid",), 3, "no whole grid"),
        (("--tower", "fake-tower", "--saliency", "{name: weighted_heads, weights: [1]}"), 3, "calibrated already"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured(
    words: tuple[str, ...], code: int, message: str, fake: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    ran = fake("calibrate", folder, *words, "--out", tmp_path / "out.json")
    assert (ran.code, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert not (tmp_path / "out.json").exists()


def test_folders_and_files_that_do_not_do(fake: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for images, out, code, message in (
        (tmp_path / "empty", "out.json", 4, "holds no image; endings"),
        (tmp_path / "none", "out.json", 4, "none"),
        (folder, "out.yaml", 2, "must end in one of .json"),
        (folder, "no/out.json", 2, "does not exist"),
        (folder / "coffee.png", "out.json", 3, "give at least 2"),
    ):
        ran = fake("calibrate", images, "--tower", "fake-tower", "--kind", "heads", "--out", tmp_path / out)
        assert ran.code == code
        assert message in ran.stderr

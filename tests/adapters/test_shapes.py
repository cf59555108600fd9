"""Models of LLaVA's shapes with random weights: as many tokens as the real ones, and prunable."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import scope_core as scope
from scope_adapters.zoo import shapes
from scope_core.adapters import upright_rgb

PICTURE = Image.linear_gradient("L").resize((60, 40))


@pytest.mark.parametrize(("tiled", "patches", "placeholders"), [(False, 576, 576), (True, 2880, 2928)])
def test_counts_are_those_of_the_real_model(tiled: bool, patches: int, placeholders: int) -> None:
    loaded = shapes.load("shape", tiled=tiled, scale=8)
    inputs = loaded.inputs([PICTURE], "What is it?")
    assert int((inputs["input_ids"] == shapes.PLACEHOLDER).sum()) == placeholders
    with scope.Pruner("scope@16").attach(loaded.model) as pruning:
        out = loaded.model.generate(**inputs, max_new_tokens=1, do_sample=False)
    assert out.shape[1] == inputs["input_ids"].shape[1] + 1
    assert (pruning.receipt.images[0].tokens, pruning.receipt.images[0].kept) == (patches, 16)
    assert "random" in loaded.notes


def test_scaled_alike() -> None:
    full, half = shapes._config(False, 1), shapes._config(False, 2)
    for part in ("vision_config", "text_config"):
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
            assert getattr(getattr(full, part), name) == 2 * getattr(getattr(half, part), name)
    assert full.text_config.num_hidden_layers == 32


def test_the_same_seed_gives_the_same_weights_and_dtype_is_kept() -> None:
    one, two = (shapes.load("shape", scale=8, dtype="bfloat16").model for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert {weight.dtype for weight in one.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "free_memory", lambda device: 2**20)
    with pytest.raises(scope.ZooError, match=r"parameters in float32\) needs 0\.\d GiB .* 0\.0 GiB are free"):
        shapes.load("shape", scale=8)
    with pytest.raises(scope.ZooError, match="scale is 3"):
        shapes.load("shape", scale=3)


@pytest.mark.parametrize("tiled", [False, True])
def test_images_are_read_by_the_one_loader(tiled: bool, tmp_path: Path) -> None:
    loaded = shapes.load("shape", tiled=tiled, scale=8)
    image, path = Image.new("RGBA", (30, 20), (255, 0, 0, 90)), tmp_path / "clear.png"
    image.paste((0, 0, 255, 255), (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    pixels = [
        loaded.inputs([given], "?")["pixel_values"]
        for given in (path, Image.open(path), upright_rgb(image.rotate(-90, expand=True)))
    ]
    assert all(torch.equal(pixels[0], other) for other in pixels[1:])
    with pytest.raises(scope.ZooError, match="image 1 of the list is None"):
        loaded.inputs([None], "?")
    for size in ((1, 1), (1, 900), (900, 1)):
        assert torch.isfinite(loaded.inputs([Image.new("RGB", size)], "?")["pixel_values"]).all()

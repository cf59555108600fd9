"""InternVL: tiles, images by runs of placeholders, norms of query and key, plans for image sizes."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import scope_core as scope
from adapters.installed import image_processor, tower_layers
from adapters.models import PLACEHOLDER
from adapters.snapshot import differences, snapshot
from adapters.tiled import CLOSE, OPEN, SIDE, prompts, reads_inner_layers, shared, tower_pass

SIZES = [(42, 42), (30, 100), (100, 31), (7, 90), (200, 170), (43, 42), (1, 1), (65, 129)]


def run(model: Any, pruner: scope.Pruner, **inputs: Any) -> scope.Receipt:
    with pruner.attach(model) as pruning, torch.no_grad():
        model(**inputs)
    return pruning.receipt


@pytest.mark.parametrize("options", [{}, {"max_tiles": 6}, {"min_tiles": 2, "max_tiles": 4}, {"max_tiles": 1}], ids=str)
@pytest.mark.parametrize("per", ["tile", "image"])
def test_plans_are_what_happens(options: dict[str, int], per: str) -> None:
    """Pictures of odd sizes through the processor that checkpoints name, framed in prompts, and run."""
    model = shared("internvl")
    processor = image_processor("got_ocr2", "GotOcr2ImageProcessor")(
        size={"height": SIDE, "width": SIDE},
        crop_to_patches=options.get("max_tiles") != 1,
        min_patches=options.get("min_tiles", 1),
        max_patches=options.get("max_tiles", 12),
    )
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in SIZES]
    given = processor(pictures, return_tensors="pt", input_data_format="channels_last")
    ids = [1]
    for tiles in given["num_patches"].tolist():
        ids += [OPEN, *[PLACEHOLDER] * 9 * tiles, CLOSE]
    budget = {"name": "tokens", "keep": 2, "per": per}
    pruner = scope.Pruner("scope", budget=budget, partition=per, adapter={"name": "internvl", **options})
    plan = pruner.plan(SIZES, model=model)
    receipt = run(model, pruner, input_ids=torch.tensor([ids]), pixel_values=given["pixel_values"])
    assert [image.tokens for image in receipt.images] == [image.tokens for image in plan.layout.images]
    assert [image.kept for image in receipt.images] == list(plan.images)
    assert len({image.tokens for image in receipt.images}) > 1 or options == {"max_tiles": 1}


def test_images_are_unbroken_runs_over_rows_and_padding() -> None:
    model, given = shared("internvl"), prompts("internvl", ["1x2", "1"], [5], ["2x2", 3])
    pruner = scope.Pruner("scope@2")
    receipt = run(model, pruner, **given.inputs)
    assert [(image.prompt, image.tokens, image.kept) for image in receipt.images] == [(0, 27, 2), (0, 9, 2), (2, 45, 2)]
    tokens = receipt.selection.tokens
    assert tokens.image.masked_fill(~tokens.valid, -1).amax(1).tolist() == [0, 1, 2]
    assert tokens.tile.amax(1).tolist() == [2, 0, 4]


def test_tiles_of_another_size() -> None:
    """The tower stretches its position table; tokens follow the pixels, not the config."""
    model = shared("internvl")
    pixels = torch.randn(2, 3, 2 * SIDE, 2 * SIDE, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, *[PLACEHOLDER] * 72, 5]])
    receipt = run(model, scope.Pruner("scope@7"), input_ids=ids, pixel_values=pixels)
    assert [(image.tokens, image.kept) for image in receipt.images] == [(72, 7)]
    assert receipt.selection.tokens.row.max() == receipt.selection.tokens.col.max() == 5


def test_norms_of_query_and_key_are_part_of_attention() -> None:
    """Attention without them is another: the probe must not read the bare projections."""
    model, given = shared("internvl-norms"), prompts("internvl-norms", ["1"])
    attention = tower_layers(model.model.vision_tower)[-2].attention
    bare: dict[str, torch.Tensor] = {}
    hooks = [
        getattr(attention, name).register_forward_hook(lambda _, __, out, name=name: bare.update({name: out}))
        for name in ("q_proj", "k_proj")
    ]
    maps = tower_pass("internvl-norms", given.images[0]).attentions[-2]
    receipt = run(model, scope.Pruner("scope@2"), **given.inputs)
    for hook in hooks:
        hook.remove()
    q, k = (bare[name].view(1, 37, 4, 8).transpose(1, 2) for name in ("q_proj", "k_proj"))
    unnormed = (q @ k.transpose(-1, -2) / math.sqrt(8)).softmax(-1)
    assert (unnormed[:, :, 0] - maps[:, :, 0]).abs().max() > 0.05
    got = receipt.selection.tokens.signal("vision.cls_attention[-2]")
    torch.testing.assert_close(got.sum(2), maps[:, :, 0, 1:].sum(2), atol=1e-5, rtol=1e-5)


def test_a_layer_that_the_host_cannot_read_is_refused_when_attaching() -> None:
    """Exactly where it fails by itself; and nothing is left on it by the question."""
    model = copy.deepcopy(shared("internvl"))
    model.config.vision_feature_layer = model.model.config.vision_feature_layer = -2
    given = prompts("internvl", ["1"])
    if reads_inner_layers():
        assert run(model, scope.Pruner("scope@2"), **given.inputs).kept == 2
        return
    with pytest.raises(AttributeError):
        model(**given.inputs)
    before = snapshot(model)
    with pytest.raises(scope.AdapterError, match=r"vision_feature_layer -2.*reads only the tower's last layer"):
        scope.Pruner("scope@2").attach(model)
    assert not differences(before, snapshot(model))


@pytest.mark.skipif(not reads_inner_layers(), reason="InternVL of this transformers reads its tower's last layer only")
def test_layers_that_nobody_reads_are_skipped() -> None:
    """The config of this one takes layer -2; keeping everything was the same bits above."""
    model, given, ran = shared("internvl-norms"), prompts("internvl-norms", ["1"]), []
    hook = tower_layers(model.model.vision_tower)[-1].mlp.register_forward_hook(lambda *_: ran.append(1))
    run(model, scope.Pruner("scope@2"), **given.inputs)
    assert ran == []
    run(model, scope.Pruner("scope@2"), **given.inputs, vision_feature_layer=-1)
    assert ran == [1]
    hook.remove()


@pytest.mark.parametrize(
    ("placeholders", "tiles", "text"),
    [
        ([17], 2, "prompt 0 has 17 image placeholders (id 150) from position 1 on, not a whole number of tiles of 9"),
        ([9, 9], 3, "3 tiles were given, but the prompts have placeholders (id 150) for 2, at 9 tokens each"),
        ([27], 1, "1 tiles were given, but the prompts have placeholders (id 150) for 3"),
        ([], 1, "for 0"),
    ],
)
def test_prompts_that_do_not_fit_their_tiles(placeholders: list[int], tiles: int, text: str) -> None:
    ids = [1, *[i for count in placeholders for i in (*[PLACEHOLDER] * count, 7)], 5]
    with pytest.raises(scope.AttachError) as caught:
        run(
            shared("internvl"),
            scope.Pruner("scope@2"),
            input_ids=torch.tensor([ids]),
            pixel_values=torch.ones(tiles, 3, SIDE, SIDE),
        )
    assert text in str(caught.value)


@pytest.mark.parametrize("recipe", ["visionzip@5", "visionzip@official@5"])
def test_a_merger_that_keeps_the_cls_token_is_refused(recipe: str) -> None:
    """It is not merged of patches, so the projector cannot take it; its row would be all 0."""
    with pytest.raises(scope.AdapterError, match=r"'keep_cls'.*uses the CLS token.*tokens are merged after it"):
        scope.Pruner(recipe).attach(shared("internvl"))


def test_a_moved_shuffle_is_found_before_anything_is_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = shared("internvl")
    monkeypatch.delattr(type(model.model), "pixel_shuffle")
    with pytest.raises(scope.AdapterError, match=r"there is no '(base_)?model\.pixel_shuffle'"):
        scope.Pruner("scope@2").attach(model)
    assert "forward" not in vars(model)

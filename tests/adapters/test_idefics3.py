"""Idefics3 and SmolVLM: crops grouped by prompt and dealt out to images, padded patches, plans for image sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import image_processor
from adapters.models import PLACEHOLDER, VOCABULARY
from adapters.tiled import FAMILIES, OPEN, PAD, SIDE, _framed, blocks, prompts, shared, tower_pass

SIZES = [(42, 42), (30, 100), (100, 31), (7, 90), (200, 170), (43, 42), (1, 1), (65, 129)]
TILE = [PLACEHOLDER] * 9


def run(model: Any, pruner: scope.Pruner, **inputs: Any) -> scope.Receipt:
    with pruner.attach(model) as pruning, torch.no_grad():
        model(**inputs)
    return pruning.receipt


@pytest.mark.parametrize("crops", [0, 1, 2, 4])
@pytest.mark.parametrize(
    ("name", "kind"), [("idefics3", "Idefics3ImageProcessor"), ("smolvlm", "SmolVLMImageProcessor")]
)
def test_plans_are_what_happens(name: str, kind: str, crops: int) -> None:
    """Pictures of odd sizes, two prompts, through the model's own processor; prompts as it frames them."""
    model = shared(name)
    processor = image_processor(name, kind)(
        size={"longest_edge": SIDE * max(crops, 1)},
        max_image_size={"longest_edge": SIDE},
        do_image_splitting=crops > 0,
    )
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(1, 255, (*size, 3), dtype=np.uint8)) for size in SIZES]
    asked = {"return_tensors": "pt", "return_row_col_info": True, "input_data_format": "channels_last"}
    given = processor([pictures[:3], pictures[3:]], **asked)
    rows = [
        [1, *[i for grid in zip(*grids, strict=True) for i in (*_framed(FAMILIES[name], *map(int, grid)), 8)]]
        for grids in zip(given["rows"], given["cols"], strict=True)
    ]
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + row for row in rows])
    pruner = keeping(5, saliency="received_attention", adapter={"name": name, "crops": crops})
    plan = pruner.plan(SIZES, model=model)
    receipt = run(
        model,
        pruner,
        input_ids=ids,
        attention_mask=(ids != PAD).long(),
        pixel_values=given["pixel_values"],
        pixel_attention_mask=given["pixel_attention_mask"],
    )
    assert [image.tokens for image in receipt.images] == [image.tokens for image in plan.layout.images]
    assert [image.kept for image in receipt.images] == list(plan.images) == [5] * len(SIZES)
    assert [image.prompt for image in receipt.images] == [0] * 3 + [1] * 5
    tiles = receipt.selection.tokens.tile.amax(1) + 1
    assert tiles.tolist() == [len(image.tiles) for image in plan.layout.images]
    assert (len(set(tiles.tolist())) > 1) == (crops > 1)


@pytest.mark.parametrize(
    ("ids", "images"),
    [
        ([1, OPEN, 7, *TILE, OPEN, 8, *TILE, OPEN, 5], [18]),
        ([1, OPEN, 7, *TILE, 9, OPEN, 8, *TILE, OPEN, 5, OPEN, 7, *TILE, OPEN], [18, 9]),
        ([1, OPEN, *TILE, OPEN, OPEN, *TILE, OPEN, 5], [9, 9]),
        ([1, OPEN, 4, 4, 4, *TILE, OPEN, 4, 4, *TILE, OPEN], [18]),  # tags of several tokens
        ([1, 5, *TILE, 6, *TILE, 4, 7], [9, 9]),  # no frames at all
        ([1, 3, *TILE, 4, 5, 3, *TILE, 4], [9, 9]),  # another mark after than before
        ([1, OPEN, *TILE, OPEN, *TILE], [9, 9]),  # nothing after the last
        ([1, *TILE, *TILE, 7], [18]),  # one unbroken run
    ],
)
def test_crops_of_an_image(ids: list[int], images: list[int]) -> None:
    pixels = torch.randn(1, sum(images) // 9, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    receipt = run(
        shared("idefics3"),
        keeping(2, saliency="received_attention"),
        input_ids=torch.tensor([ids]),
        pixel_values=pixels,
    )
    assert [image.tokens for image in receipt.images] == images


@pytest.mark.parametrize("name", ["idefics3", "smolvlm", "smolvlm-eager"])
def test_padded_patches(name: str) -> None:
    """Attention as the tower's own, mask included; what is padded receives none; keeping everything is an identity."""
    model, given = shared(name), prompts(name, [2, "1", 3], [1, "1", 5])
    inputs = given.inputs
    mask = torch.ones_like(inputs["pixel_attention_mask"])
    mask[0, :, 30:], mask[1, :, :, 20:] = 0, 0
    inputs["pixel_attention_mask"] = mask
    with torch.no_grad():
        wanted = model(**inputs).logits
        unmasked = model(**given.inputs).logits
    assert (wanted - unmasked)[:, -1].abs().max() > 0.05
    with keeping(9, saliency="received_attention").attach(model) as pruning, torch.no_grad():
        assert torch.equal(model(**inputs).logits, wanted)
    got = pruning.receipt.selection.tokens.signal("vision.received_attention[-2]")
    real = mask[:, 0].unfold(1, 7, 7).unfold(2, 7, 7).sum((-1, -2)) > 0
    maps = tower_pass(name, torch.cat(given.images), patch_attention_mask=real).attentions[-2]
    expected = blocks(name, maps.mean(2).movedim(2, 1)).sum(2).movedim(1, 2)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert (got.view(2, 4, 3, 3)[1, :, :, 2] == 0).all()
    torch.testing.assert_close(got.sum(2), torch.ones(2, 4), atol=1e-5, rtol=1e-5)


def test_crops_in_the_row_of_another_prompt() -> None:
    """The host adds up the batch, and so would give one prompt the other's crop."""
    given = prompts("smolvlm", [2, "1", "1", 3], [1, "1", 5])
    pixels = given.pictures["pixel_values"].flip(0)
    for inputs in (
        {**given.inputs, "pixel_values": pixels},
        {**given.inputs, "pixel_values": pixels, "pixel_attention_mask": None},
    ):
        with pytest.raises(
            scope.AttachError,
            match=r"prompt 0 has 18 image placeholders, but the rows of pixel_values fill \[9, 18\]",
        ):
            run(shared("smolvlm"), keeping(2, saliency="received_attention"), **inputs)


def test_pad_ids_lie_within_the_vocabulary() -> None:
    """These configs carry a pad id of their own beyond small embedding tables; the text model's is taken."""
    model, given = shared("smolvlm"), prompts("smolvlm", [2, "1x2", 3], [1, "1", 5])
    assert getattr(model.config, "pad_token_id", VOCABULARY) >= model.config.text_config.vocab_size
    seen: list[torch.Tensor] = []
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    run(model, keeping([9, 2], saliency="received_attention"), **given.inputs)
    hook.remove()
    assert int(seen[-1].max()) < model.config.text_config.vocab_size

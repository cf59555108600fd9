"""Frames given as several images, as InternVL and SmolVLM get videos: one video to `partition: video`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import scope_core as scope
from adapters import anyres, models, qwen, tiled

ROW = [3, "1", 2, "1", 2, "1", 4]
CASES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": lambda: (models.shared("clip"), models.batch([3, "image", 2, "image", 2, "image", 4])),
    "llava_onevision": lambda: (
        anyres.onevision_model(),
        anyres.prompts(anyres.onevision_model(), [3, *[(28, 28)] * 3, 4], grouped=True),
    ),
    "qwen2_vl": lambda: (qwen.shared("qwen2_vl"), qwen.prompts([3, (4, 6), 2, (4, 6), 2, (4, 6), 4])),
    "internvl": lambda: (tiled.shared("internvl"), tiled.prompts("internvl", ROW)),
    "smolvlm": lambda: (tiled.shared("smolvlm"), tiled.prompts("smolvlm", ROW)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=anyres.shared_prompts if "one" in name else ()) for name in CASES]
)
def test_images_of_a_prompt_are_frames_of_one_video(name: str) -> None:
    model, given = CASES[name]()
    budget = {"name": "tokens", "keep": 7, "per": "video"}
    for spec, kept in (
        ({"recipe": "divprune", "partition": "frame", "budget": budget}, [3, 2, 2]),
        ({"recipe": "divprune", "partition": "video", "budget": budget}, None),
        ({"recipe": "evs", "partition": "video", "budget": {"name": "ratio_with_frame", "keep_ratio": 0.5}}, None),
    ):
        with scope.Pruner({**spec, "at": "projected"}).attach(model) as pruning, torch.no_grad():
            model(**given.inputs)
        images = pruning.receipt.images
        counts = [image.kept for image in images]
        assert len(images) == 3
        assert sum(counts) == (7 if spec["recipe"] == "divprune" else 3 * images[0].tokens // 2)
        assert counts == (kept or counts)
        if spec["recipe"] == "evs":
            assert counts[0] == images[0].tokens  # the first frame, whole
        tokens = pruning.receipt.selection.tokens
        flat = tokens.valid.flatten().nonzero().flatten()
        frames = tokens.regroup(flat[None]).frames()[0]
        assert frames.tolist() == [number for number in range(3) for _ in range(images[0].tokens)]

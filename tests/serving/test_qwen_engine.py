"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL in a running engine, against Hugging Face with the same spec attached."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import qwen_checkpoints
import torch
from engines import HuggingFace, Prompt, engine
from samples import picture

import scope_core as scope
from scope_adapters.serving import fallback, receipts
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.group import Group
from scope_adapters.serving.places import DIGITS, from_digits
from scope_adapters.serving.servable import recipes
from scope_adapters.serving.served import KEY, Served

Ask = functools.partial(Prompt, written=qwen_checkpoints.prompt)
STRIP = picture(5, (4600, 28))
"""More columns than bfloat16 counts exactly from one digit."""
IMAGES = ([picture(1, (300, 200))], [picture(2, (100, 250))], [picture(3, (280, 280)), picture(4, (400, 120))], [STRIP])
NORMS = {"recipe": "scope", "saliency": "feature_norm", "budget": 12}
OF_TOWER = {"recipe": "scope", "budget": 10, "at": "projected"}
SPECS: tuple[Any, ...] = (
    *("", 0.5, "divprune@9", NORMS, {**NORMS, "at": "projected"}, "downsample@9", "scope@no_cls@12"),
    {**OF_TOWER, "saliency": {"name": "received_attention", "layer": 1}},
)
SAME_AS = {"": "uniform_grid@100%", "0.5": "uniform_grid@50%"}


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_answers_are_those_of_hugging_face(tmp_path: Path, kind: str) -> None:
    """Budgets mixed in a batch, prompts read in parts shorter than an image; twice, the second time from caches."""
    folder = qwen_checkpoints.qwen(tmp_path, kind)
    options: dict[str, Any] = {"max_num_batched_tokens": 96, "limit_mm_per_prompt": {"image": 4}}
    with engine(folder, "uniform_grid@100%", **options) as running:
        huggingface = HuggingFace.load(folder)
        image_token, geometry = qwen_checkpoints.IMAGE, geometry_of(huggingface.model.config)
        asked = [Ask(images, spec) for spec in SPECS for images in IMAGES]
        outputs = running.ask(*asked)
        answers = [list(output.outputs[0].token_ids) for output in outputs]
        for prompt, output, answer in zip(asked, outputs, answers, strict=True):
            spec = SAME_AS.get(str(prompt.pruner), prompt.pruner)
            text = qwen_checkpoints.prompt(len(prompt.images), "")
            grids = huggingface.processor(images=list(prompt.images), text=text, return_tensors="pt")["image_grid_thw"]
            sizes = [geometry.size(grid) for grid in grids.tolist()]
            planned = scope.Pruner(spec).plan(geometry.layout(sizes))
            assert output.prompt_token_ids.count(image_token) == planned.total
            assert answer == huggingface.answer(prompt, spec)[0], (kind, spec, sizes)
        assert len({tuple(answer) for answer in answers}) >= len(asked) - 6
        assert [list(output.outputs[0].token_ids) for output in running.ask(*asked)] == answers
        assert not running.kept  # nothing was encoded again

        names = recipes(scope.Pruner("uniform_grid@9"), geometry)
        assert {"divprune", "coverage_only", "random", "scope@no_cls", "tome", "visionzip@no_cls"} <= set(names)
        for number, name in enumerate(names):
            prompt, spec = Ask([picture(20 + number, (200, 330))]), {"recipe": name, "budget": 8}
            answer = running.answers(Ask(prompt.images, spec))[0]
            assert (answer, running.kept) == huggingface.answer(prompt, spec), name
        for value in (300, "scope@9", "fastv@9", {"adapter": "llava"}):
            with pytest.raises(ValueError, match="visual_pruner"):
                running.answers(Ask(IMAGES[0], value))
        with pytest.raises(ValueError, match="keeps 30 per image, but image 0 has"):
            running.answers(Ask([picture(1, (60, 60))], 30))
        assert running.answers(Ask(IMAGES[0])) == answers[:1]


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_failures_keep_rows_and_places_of_the_uniform_grid(tmp_path: Path, kind: str) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(qwen_checkpoints.qwen(tmp_path, kind))
    setattr(config, KEY, "divprune@9")
    served, size = Served(config), (140, 84)
    served.rehearse()
    assert served.facts("tiny")["budget"].startswith("9 of 16384")
    group = Group(served.geometry(served.default), served.pruner(served.default), [size])
    rows = torch.arange(15.0)[None, :, None].expand(1, 15, 128)
    features = torch.full((1, 15, 128), torch.nan)
    kept, order, failures = fallback.select(group, [size], features, {}, receipts.Call(), rows)
    grid = scope.Pruner("uniform_grid@9").select(torch.randn(1, 15, 4), grid=(5, 3)).kept[0]
    assert kept[order][:, 0].tolist() == grid.tolist()
    assert from_digits(kept[order][:, -DIGITS:]).tolist() == [[0, *divmod(token, 3)] for token in grid.tolist()]
    assert list(failures) == [0]
    for wrong, message in (
        ("scope@64", "tower has no CLS token"),
        ("fastv@9", "cannot be pruned at 'decoder"),
        (
            {
                "recipe": "divprune",
                "budget": 9,
                "merger": {"name": "residual", "saliency": "feature_norm", "merger": "none"},
            },
            "adds rows, which have no place",
        ),
    ):
        setattr(config, KEY, wrong)
        with pytest.raises(scope.SpecError, match=message):
            Served(config)

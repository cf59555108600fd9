"""LLaVA-OneVision in a running engine, against Hugging Face with the same spec attached: tiles, interpolated images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from engines import HuggingFace, Prompt, engine
from samples import picture

import scope_core as scope
from scope_adapters.serving import fallback, receipts
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.group import Group
from scope_adapters.serving.servable import recipes
from scope_adapters.serving.served import KEY, Served

IMAGES = (
    [picture(1, (100, 300))],
    [picture(2, (60, 84))],
    [picture(3, (336, 336))],  # interpolated
    [picture(4, (500, 260)), picture(5, (90, 200))],
)
NO_NEWLINES = {"name": "llava_onevision", "newlines": "drop"}
SPECS: tuple[Any, ...] = (
    *("", "scope@no_cls@20", "tome@20", "divprune@25%"),
    {"recipe": "scope@no_cls", "budget": 20, "adapter": NO_NEWLINES, "at": "projected"},
)


def test_answers_are_those_of_hugging_face(tmp_path: Path) -> None:
    """All sizes and specs in one batch; then every recipe that can be served, on an image that is interpolated."""
    folder = checkpoints.llava_onevision(tmp_path)
    with engine(folder, "uniform_grid@100%") as running:
        huggingface = HuggingFace.load(folder)
        geometry = geometry_of(huggingface.model.config)
        asked = [Prompt(images, spec) for spec in SPECS for images in IMAGES]
        outputs = running.ask(*asked)
        answers = [list(output.outputs[0].token_ids) for output in outputs]
        agreed = 0
        for prompt, output, answer in zip(asked, outputs, answers, strict=True):
            spec = prompt.pruner or "uniform_grid@100%"
            own = scope.Pruner(spec)
            adapter = own.parts["adapter"] if own.spec.adapter is not None else None
            sizes = [(image.height, image.width) for image in prompt.images]
            layout = geometry_of(geometry.config, adapter).layout(sizes)
            separators = sum(image.separators for image in layout.images)
            image = huggingface.model.config.image_token_id
            assert output.prompt_token_ids.count(image) == own.plan(layout).total + separators
            expected = huggingface.answer(prompt, spec)[0]
            agreed += answer == expected
            assert answer == expected or not huggingface.firm(prompt, spec), (spec, sizes)
        assert agreed >= len(asked) - 2
        assert len({tuple(answer) for answer in answers}) >= len(asked) - 2
        names = recipes(scope.Pruner("uniform_grid@9"), geometry)
        assert {"scope@no_cls", "divprune", "tome", "fastervlm@no_cls"} <= set(names)
        compared = set()
        for number, name in enumerate(names):
            prompt, spec = Prompt([picture(20 + number, (330, 340))]), {"recipe": name, "budget": 0.25}
            if huggingface.firm(prompt, spec):
                answer = running.answers(Prompt(prompt.images, spec))[0]
                assert (answer, running.kept) == huggingface.answer(prompt, spec), name
                compared.add(name)
        assert len(compared) >= 12  # attention to interpolated patches is often nearly tied
        with pytest.raises(ValueError, match="tower has no CLS token"):
            running.answers(Prompt(IMAGES[0], "scope@20"))


def test_the_largest_image_is_sized_for(tmp_path: Path) -> None:
    """Canvases of many tiles are interpolated, so another size has the most tokens; failures keep a uniform grid."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoints.llava_onevision(tmp_path))
    setattr(config, KEY, "uniform_grid@50%")
    served = Served(config)
    served.rehearse()
    most = served.rows(served.default, served.largest)
    rows = {
        size: served.rows(served.default, size)
        for size in ((h, w) for h in range(40, 400, 45) for w in range(40, 400, 45))
    }
    assert max(rows.values()) <= most
    real = copy.deepcopy(config)
    real.vision_config.image_size, real.vision_aspect_ratio = 384, "anyres_max_9"
    real.image_grid_pinpoints = [[384 * rows, 384 * cols] for rows in range(1, 7) for cols in range(1, 7)]
    geometry = geometry_of(real)
    tokens = {size: geometry.layout([size]).images[0].tokens for size in geometry.canvases}
    by_vllm = (944, 1153)  # the size that vLLM's own class takes for the largest
    assert max(tokens.values()) == geometry.layout([by_vllm]).images[0].tokens == 8667
    assert sum(count == 8667 for count in tokens.values()) == 1
    for size in ((336, 330), (60, 84)):
        group = Group(served.geometry(served.default), served.pruner(served.default), [size])
        count = group.geometry.tiles(size)
        whole = torch.arange(36.0 * count).view(count, 36, 1).expand(-1, -1, 8)
        broken = torch.full((count, 36, 128), torch.nan)
        strict = Group(group.geometry, scope.Pruner("divprune@50%"), [size])
        kept, order, failures = fallback.select(strict, [size], broken, {}, receipts.Call(), whole)
        assert list(failures) == [0]
        assert len(order) == group.promised[0]
        grid = scope.Pruner({"recipe": "uniform_grid", "budget": group.counts[0]}).prune(
            group.tokens(whole, {}), group.layout
        )
        assert torch.equal(kept, group.tokens(whole, {}).features[0][grid.kept[0]])

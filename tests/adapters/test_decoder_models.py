"""Stages inside the language models of other families: tiles with newlines, shuffled patches, and who is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import scope_core as scope
from adapters import anyres, tiled
from adapters.decoders import GREEDY, deep, top
from adapters.installed import beams_mended
from adapters.models import ONE, PLACEHOLDER, batch, llava

LATER = {"at": "decoder[2]", "budget": 3, "saliency": {"layer": 2}}
STAGES = {**top(0), "budget": 5, "at": "decoder[1]", "then": [LATER]}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 3},
    "no cache": {**GREEDY, "use_cache": False},
}


@pytest.mark.parametrize("positions", ["original", "compact"])
@pytest.mark.parametrize("family", ["next", "onevision", "internvl", "idefics3", "smolvlm", "vipllava"])
def test_families(family: str, positions: str) -> None:
    """Keeping everything is exact, batches are their prompts, caches change nothing, newlines go by the adapter."""
    model, given, singles = FAMILIES[family]()
    everything = {**STAGES, "budget": 1.0, "positions": positions, "then": [{"at": "decoder[2]"}]}
    with beams_mended(model, [len(singles)]):
        wanted = {mode: model.generate(**given.inputs, **options) for mode, options in MODES.items()}
    with scope.Pruner(everything).attach(model) as pruning, torch.no_grad():
        for mode, options in MODES.items():
            assert torch.equal(model.generate(**given.inputs, **options), wanted[mode]), mode
        assert pruning.receipt.kept == pruning.receipt.tokens
    length = given.inputs["input_ids"].shape[1]
    with scope.Pruner({**STAGES, "positions": positions}).attach(model) as pruning, torch.no_grad():
        together = {mode: model.generate(**given.inputs, **options)[:, length:] for mode, options in MODES.items()}
        receipt = pruning.receipt
        for number, alone in enumerate(singles):
            own = alone.inputs["input_ids"].shape[1]
            for mode, options in MODES.items():
                single = model.generate(**alone.inputs, **options)[:, own:]
                assert torch.equal(together[mode][number : number + 1], single), (number, mode)
        out = model(**given.inputs).logits
    assert torch.equal(together["greedy"], together["no cache"])
    assert all(image.kept == 5 for image in receipt.images)
    assert all(image.kept == 3 for image in receipt.later[0].images)
    real = (pruning.positions >= 0).sum(1)
    ids, mask = given.inputs["input_ids"], given.inputs["attention_mask"].bool()
    text = ((ids != PLACEHOLDER) & mask).sum(1)
    for row, count in enumerate(real.tolist()):
        mine = [image for image in pruning.receipt.later[0].images if image.prompt == row]
        if mine:
            assert count == int(text[row]) + sum(image.kept + image.separators for image in mine)
    assert out.shape[1] == int(real.max())


def _anyres(model: Any, *rows: Any) -> Any:
    given = anyres.prompts(model, *rows)
    return model, given, [given.row(number) for number in range(len(rows))]


def _tiled(name: str) -> Callable[[], Any]:
    def made() -> Any:
        rows = {"vipllava": (["1"], [3, "1", "1"])}.get(name, (["1x2", 2], [3, "1", "1x2"]))
        given = tiled.prompts(name, *rows)
        return tiled.shared(name), given, [given.row(number) for number in range(len(rows))]

    return made


FAMILIES: dict[str, Callable[[], Any]] = {
    "next": lambda: _anyres(anyres.next_model(), [(100, 40), 3], [(30, 30), 2, (40, 90), 1]),
    "onevision": lambda: _anyres(anyres.onevision_model(), [(30, 30), 3], [4, (28, 56), 2]),
    **{name: _tiled(name) for name in ("internvl", "idefics3", "smolvlm", "vipllava")},
}


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: tiled.shared("gemma3"), "of type 'gemma3_text'; supported are llama, mistral, qwen2, qwen3"),
        (lambda: tiled.shared("paligemma"), "of type 'gemma'"),
        (lambda: llava(decoder="mistral"), "sliding_window 4096"),
    ],
    ids=["gemma3", "paligemma", "sliding window"],
)
def test_language_models_that_are_refused(build: Callable[[], Any], why: str) -> None:
    model = build()
    with pytest.raises(scope.AdapterError, match=why):
        scope.Pruner({**top(0), "budget": 3, "at": "decoder[1]"}).attach(model)
    with pytest.raises(scope.AdapterError, match="cannot be pruned at 'decoder\\[1\\]'"):
        scope.Pruner("fastv", at="decoder[1]", saliency={"layer": 0}).check(model)


def test_rotary_embeddings_that_depend_on_length_are_refused() -> None:
    model = llava(seed=3)
    text = model.config.text_config
    name = "rope_parameters" if hasattr(text, "rope_parameters") else "rope_scaling"
    setattr(text, name, {**(getattr(text, name) or {}), "rope_type": "dynamic"})
    with pytest.raises(scope.AdapterError, match="rope_type 'dynamic'"):
        scope.Pruner({**top(0), "budget": 3, "at": "decoder[1]"}).attach(model)


@pytest.mark.parametrize("recipe", ["fastv", "fastv@official", "dart", "dart@official"])
def test_recipes_with_one_stage(recipe: str) -> None:
    model, given = deep(layers=4), batch(*ONE)
    options = {"budget": 0.5} if recipe.startswith("fastv") else {"budget": 12}
    with scope.Pruner(recipe, **options).attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    assert pruning.receipt.kept == {"fastv": 8, "fastv@official": 8, "dart": 12, "dart@official": 12}[recipe]


@pytest.mark.parametrize("recipe", ["pyramiddrop", "pyramiddrop@official", "sparsevlm", "sparsevlm@official"])
def test_recipes_with_several_stages(recipe: str) -> None:
    """At the layers that the papers say, in a language model of 32 layers."""
    model, given = deep(layers=32), batch(*ONE)
    budget: dict[str, Any] = {"sparsevlm": {"keep": 6}, "sparsevlm@official": {"keep": 0, "rows": [[0, 11, 7, 5]]}}
    options = {"budget": budget[recipe]} if recipe in budget else {}
    with scope.Pruner(recipe, **options).attach(model) as pruning, torch.no_grad():
        plan = pruning.plan([(28, 28)])
        ids = model.generate(**given.inputs, **GREEDY)
        assert torch.equal(model.generate(**given.inputs, **GREEDY, use_cache=False), ids)
    stages = (pruning.receipt, *pruning.receipt.later)
    assert [stage.kept for stage in stages] == [plan.total, *(later.total for later in plan.later)]
    if recipe.startswith("pyramiddrop"):
        assert [stage.at for stage in stages] == ["decoder[8]", "decoder[16]", "decoder[24]"]
        assert [stage.kept for stage in stages] == [8, 4, 2]
    else:
        assert [stage.at for stage in stages] == ["decoder[3]", "decoder[7]", "decoder[16]"]
        assert all(stage.selection.counts[0] < stage.kept for stage in stages)

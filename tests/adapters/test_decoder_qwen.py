"""Pruning inside Qwen-VL's language models: positions of several axes, and features added between layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from adapters.decoders import GREEDY, hidden_columns, top
from adapters.installed import beams_mended
from adapters.qwen import MIXED, MODELS, PLACEHOLDER, Prompts, mark, prompts, qwen, shared
from adapters.snapshot import differences, snapshot

ONE_STAGE = {**top(1), "budget": 6, "at": "decoder[1]"}
TWO_STAGES = {**ONE_STAGE, "then": [{"at": "decoder[2]", "budget": 3, "saliency": {"layer": 2}}]}
ENCODER_FIRST = {
    "recipe": "scope@no_cls",
    "budget": {"name": "ratio", "keep_ratio": 0.7},
    "then": [{"recipe": None, **top(1), "budget": 3, "at": "decoder[1]"}],
}
PAIR = ([3, (6, 10), 2, (4, 8), 4],)
"""One prompt, two images of different sizes, text before, between and after."""
INSIDE = (*MODELS, pytest.param("qwen3_vl_moe", marks=mark("qwen3_vl_moe")))
MODES: dict[str, dict[str, Any]] = {"greedy": GREEDY, "beams": {**GREEDY, "num_beams": 3}}


def kept_places(given: Prompts, receipt: Any) -> dict[int, torch.Tensor]:
    """The positions of the one prompt that are left after each decoder layer with a stage."""
    text = (given.ids[0] != PLACEHOLDER).nonzero()[:, 0]
    left = list(torch.split((given.ids[0] == PLACEHOLDER).nonzero()[:, 0], given.tokens))
    made = {}
    for stage in (receipt, *receipt.later):
        kept = stage.selection.kept
        left = [mine[kept[image][kept[image] >= 0]] for image, mine in enumerate(left)]
        if stage.at.startswith("decoder"):
            made[int(stage.at[8:-1])] = torch.cat([text, *left]).sort().values
    return made


def longer(given: Prompts, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The call with new ids after the prompt."""
    inputs, more = dict(given.inputs), ids.shape[1] - given.length
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, more))
    return inputs


@pytest.mark.parametrize("spec", [ONE_STAGE, TWO_STAGES], ids=["one", "two"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", INSIDE)
def test_dropping_equals_hiding(name: str, attention: str, spec: dict[str, Any]) -> None:
    """Every position keeps its axes, and every token that is left the features that the tower adds between layers."""
    model, given = qwen(name, attention=attention), prompts(*PAIR)
    with scope.Pruner(spec).attach(model) as pruning, torch.no_grad():
        out = model.generate(**given.inputs, **GREEDY, return_dict_in_generate=True, output_logits=True)
        beams = model.generate(**given.inputs, **GREEDY, num_beams=3)
        plain_pass = model(**given.inputs).logits
    kept = kept_places(given, pruning.receipt)
    assert len(kept) == 1 + len(spec.get("then", ()))
    with torch.no_grad():
        plain = model(**given.inputs).logits[0, -1]
    with hidden_columns(model, given.length, kept), torch.no_grad():
        steps = [
            model(**longer(given, out.sequences[:, :stop])).logits[0, -1]
            for stop in range(given.length, given.length + 6)
        ]
        whole = model(**given.inputs).logits[0, kept[max(kept)]]
        with beams_mended(model, given.images):
            wanted = model.generate(**given.inputs, **GREEDY, num_beams=3, use_cache=False)
    torch.testing.assert_close(torch.cat(out.logits), torch.stack(steps), atol=2e-4, rtol=0)
    torch.testing.assert_close(plain_pass[0], whole, atol=2e-4, rtol=0)
    assert torch.equal(beams, wanted)
    assert float((out.logits[0][0] - plain).abs().max()) > 1e-2  # else nothing above would prove anything


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("spec", [TWO_STAGES, ENCODER_FIRST], ids=["two", "encoder first"])
@pytest.mark.parametrize("name", MODELS)
def test_ragged_batch_equals_single_runs(name: str, spec: dict[str, Any], side: str) -> None:
    model, given = shared(name), prompts(*MIXED, side=side)
    with scope.Pruner(spec).attach(model), torch.no_grad():
        together = model(**given.inputs).logits if side == "right" else None
        ids = {mode: model.generate(**given.inputs, **options) for mode, options in MODES.items() if side == "left"}
        for number in range(len(MIXED)):
            alone = given.row(number)
            logits = model(**alone.inputs).logits[0]
            if together is not None:
                torch.testing.assert_close(together[number, : len(logits)], logits, atol=2e-5, rtol=0)
            for mode, made in ids.items():
                single = model.generate(**alone.inputs, **MODES[mode])
                assert torch.equal(made[number : number + 1, given.length :], single[:, alone.length :]), mode


@pytest.mark.parametrize("recipe", ["fastv", "dart", "sparsevlm"])
@pytest.mark.parametrize("name", MODELS)
def test_methods_with_and_without_a_cache(name: str, recipe: str) -> None:
    model, given = shared(name), prompts(*MIXED)
    saliency = {"saliency": {"layer": 1}} if recipe != "dart" else {}
    spec = {"recipe": recipe, "at": "decoder[2]", "budget": 4, "then": [], **saliency}
    if recipe == "sparsevlm":
        raters = {"name": "rater_attention", "layer": 1}
        spec["merger"] = {"name": "density_clusters", "share": 0.5, "per_cluster": 4, "saliency": raters}
    before = snapshot(model)
    with scope.Pruner(spec).attach(model) as pruning, torch.no_grad():
        made = [model.generate(**given.inputs, **GREEDY, use_cache=cache) for cache in (True, False)]
    assert torch.equal(*made)
    assert pruning.receipt.kept < pruning.receipt.tokens
    assert differences(before, snapshot(model)) == []


@pytest.mark.parametrize("name", INSIDE)
def test_keeping_all_tokens_changes_nothing(name: str) -> None:
    model, given = shared(name), prompts(*MIXED)
    with torch.no_grad():
        wanted = model(**given.inputs).logits
        with scope.Pruner({**ONE_STAGE, "budget": {"name": "ratio", "keep_ratio": 1.0}}).attach(model):
            assert torch.equal(model(**given.inputs).logits, wanted)

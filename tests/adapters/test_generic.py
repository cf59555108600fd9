"""Models that no adapter is written for: what a trial proves of them, and what is refused. The kit runs elsewhere."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import any_type, models, qwen
from adapters.snapshot import differences, snapshot
from scope_adapters.adapters.geometry import geometry_of
from scope_adapters.compat.transformers import language_model
from scope_adapters.model_types import model_types
from scope_core import AdapterError, SignalError, TokensError

pytestmark = pytest.mark.skipif("aya_vision" not in any_type.available(), reason="transformers without Aya Vision")


def _changed(name: str, **methods: Any) -> Any:
    """A copy of a model, with other methods on its body."""
    model = copy.deepcopy(any_type.model(name))
    body = model.base_model
    body.__class__ = type(type(body).__name__, (type(body),), methods)
    return model


def test_named_adapters_come_first() -> None:
    pruner = scope.Pruner("random@2")
    with pruner.attach(models.shared("clip")) as pruning:
        assert pruning.adapter.spec.name == "llava"
    with pruner.attach(any_type.model("aya_vision")) as pruning:
        assert pruning.adapter.spec.name == "generic"


GRIDS = {"aya_vision": (2, 2), "paddleocr_vl": (7, 7), "idefics2": None}


@pytest.mark.parametrize(("name", "grid"), [one for one in GRIDS.items() if one[0] in any_type.available()])
def test_places_are_those_that_a_changed_patch_shows(name: str, grid: tuple[int, int] | None) -> None:
    found = geometry_of(any_type.model(name)).grid
    assert (found.size if found else None) == grid


def test_a_trial_leaves_the_model_as_it_was_and_is_made_once() -> None:
    model, passes = copy.deepcopy(any_type.model("aya_vision")), []
    before = snapshot(model)
    scope.Pruner("random@2").check(model)
    assert not differences(before, snapshot(model))
    hook = model.base_model.vision_tower.register_forward_hook(lambda *_: passes.append(1))
    scope.Pruner("divprune@2").check(model)
    hook.remove()
    assert not passes


def test_signals_are_those_of_the_tower() -> None:
    model, given = any_type.model("aya_vision"), any_type.prompts("aya_vision")
    reading = {"recipe": "scope@no_cls", "budget": 2}
    with scope.Pruner(reading).attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    tokens = pruning.receipt.selection.tokens
    twin = copy.deepcopy(model.base_model.vision_tower)
    twin.set_attn_implementation("eager")
    with torch.no_grad():
        attention = twin(given.inputs["pixel_values"], output_attentions=True).attentions[-2]
    of_patches = attention.double().mean(2)  # (images, heads, 16) received, mean over queries
    squares = of_patches.view(*of_patches.shape[:2], 2, 2, 2, 2).sum((3, 5)).flatten(2)
    assert torch.allclose(tokens.signal("vision.received_attention[-2]").double(), squares, atol=1e-6)


def test_the_same_as_the_adapter_that_is_written_for_the_model() -> None:
    model, given = qwen.shared("qwen2_vl"), qwen.prompts(*qwen.MIXED)
    spec, seen = {"recipe": "scope@no_cls", "budget": 3}, []
    for adapter in ("qwen2_vl", "generic"):
        with scope.Pruner(spec).attach(model, adapter=adapter) as pruning, torch.no_grad():
            logits = model(**given.inputs).logits
        seen.append((logits, pruning.receipt.selection.mask))
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])


def test_rows_that_the_forward_changes_are_refused() -> None:
    inner = type(any_type.model("aya_vision").base_model).forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("mm_encoder_outputs"):
            kwargs["mm_encoder_outputs"]["image"].pooler_output = (
                kwargs["mm_encoder_outputs"]["image"].pooler_output * 2
            )
        return inner(self, *args, **kwargs)

    with pytest.raises(AdapterError, match=r"rows that are passed on do not enter the prompt as the model's own do"):
        scope.Pruner("random@2").check(_changed("aya_vision", forward=forward))


def _features(change: Any) -> Any:
    inner = type(any_type.model("aya_vision").base_model).get_image_features

    def get_image_features(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = inner(self, *args, **kwargs)
        output.pooler_output = change(output.pooler_output)
        return output

    get_image_features.__signature__ = __import__("inspect").signature(inner)  # type: ignore[attr-defined]
    return get_image_features


def test_rows_that_are_not_one_per_placeholder_are_refused() -> None:
    none: Any = _features(lambda rows: None)
    with pytest.raises(AdapterError, match="returns no pooler_output"):
        scope.Pruner("random@2").check(_changed("aya_vision", get_image_features=none))
    model = copy.deepcopy(any_type.model("aya_vision"))
    model.config.attribute_map = {**model.config.attribute_map, "image_token_id": "no_such_name"}
    with pytest.raises(AdapterError, match="has no image_token_id"):
        scope.Pruner("random@2").check(model)


REASONS = {
    "blip-2": r"its forward\(\) requires pixel_values, even where encoded images are passed on",
    "instructblip": r"its forward\(\) requires pixel_values, qformer_input_ids, even where encoded",
    "granite4_vision": r"returns no pooler_output: only features that are added inside the language model",
    "llama4": r"the whole model is one class, whose language model cannot be given kept rows",
}


@pytest.mark.parametrize(("name", "reason"), [one for one in REASONS.items() if one[0] in any_type.available()])
def test_refusals_say_why(name: str, reason: str) -> None:
    model = any_type.model(name)
    with pytest.raises(AdapterError, match=reason):
        scope.Pruner("divprune@2").attach(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    if name not in ("granite4_vision", "llama4"):  # what only a model shows is not in its class
        (row,) = (one for one in model_types() if one.name == name)
        assert not row.adapter
        assert "requires pixel_values" in row.why


def test_tokens_in_another_order_have_no_places() -> None:
    def turned(rows: Tensor) -> Tensor:
        return rows.flip(1)

    model = _changed("aya_vision", get_image_features=_features(turned))
    with pytest.raises(SignalError, match=r"optimizer 'grid'.* reads rows and columns .* no proven places"):
        scope.Pruner("uniform_grid@2").check(model)
    with pytest.raises(SignalError, match=r"needs vision.received_attention\[-2\].* squares of patches"):
        scope.Pruner("scope@no_cls@2").check(model)
    with scope.Pruner("divprune@2").attach(model) as pruning, torch.no_grad():
        model(**any_type.prompts("aya_vision").inputs)
    assert pruning.receipt.images[0].kept == 2


@pytest.mark.skipif("video_llava" not in any_type.available(), reason="transformers without Video-LLaVA")
def test_pixels_may_have_the_name_that_processors_give_them() -> None:
    model, given, read = any_type.model("video_llava"), any_type.prompts("video_llava").inputs, []
    former = {**given, "pixel_values_images": given["pixel_values"]}
    del former["pixel_values"]
    with scope.Pruner("scope@2").attach(model, adapter="generic") as pruning, torch.no_grad():
        for inputs in (given, former):
            logits = model(**inputs).logits
            read.append((logits, pruning.receipt.selection.mask, model.generate(**inputs, max_new_tokens=2)))
    assert int(read[0][1].sum()) == 6
    assert all(torch.equal(one, other) for one, other in zip(*read, strict=True))


def test_plans_take_counts() -> None:
    model, pruner = any_type.model("aya_vision"), scope.Pruner("random@2")
    with pytest.raises(TokensError, match=r"plan by counts of placeholders: plan\(\[count, \.\.\.\]\)"):
        pruner.plan([(56, 56)], model=model)
    assert pruner.plan([4, 4], model=model).images == (2, 2)


@pytest.mark.skipif("cosmos3_omni" not in any_type.available(), reason="transformers without Cosmos 3")
def test_videos_are_refused() -> None:
    model, given = any_type.model("cosmos3_omni"), any_type.prompts("cosmos3_omni").inputs
    with scope.Pruner("random@2").attach(model), pytest.raises(scope.AttachError, match="pixel_values_videos"):
        model(**given, pixel_values_videos=torch.zeros(4, 4))


@pytest.mark.parametrize("name", [name for name in ("glm4v", "glm4v_moe") if name in any_type.available()])
def test_signals_of_packed_towers_are_those_of_eager_attention(name: str) -> None:
    model, generator = any_type.model(name), torch.Generator().manual_seed(3)
    grids = torch.tensor([[1, 4, 6], [1, 6, 4]])
    vision = model.config.vision_config
    pixels = torch.randn(48, 3 * vision.temporal_patch_size * vision.patch_size**2, generator=generator)
    given = qwen.Prompts(
        torch.tensor([[5, *[any_type.PLACEHOLDER] * 6, 6, *[any_type.PLACEHOLDER] * 6, 7]]),
        torch.ones(1, 15, dtype=torch.int64),
        pixels,
        grids,
        (2,),
    )
    with scope.Pruner("scope@no_cls@2").attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    tokens, seen = pruning.receipt.selection.tokens, qwen.watch(model, given)
    for image in range(2):
        read = tokens.signal("vision.received_attention[-2]")[image].double()
        assert torch.allclose(read, seen.received[image][1], atol=1e-5)
        assert torch.allclose(tokens.features[image].double(), seen.hidden[image][2], atol=1e-4)


@pytest.mark.parametrize("name", [name for name in any_type.LONG if name in any_type.available()])
def test_the_language_model_reads_the_kept_rows_in_their_order(name: str) -> None:
    model, given, read = any_type.model(name), any_type.prompts(name).row(0).inputs, []
    hook = language_model(model).register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["inputs_embeds"][0]), with_kwargs=True
    )
    everything = {"recipe": "random", "budget": {"name": "ratio", "keep_ratio": 1.0}, "at": "projected"}
    try:
        with torch.no_grad():
            full = model(**given).logits
            with scope.Pruner(everything).attach(model):
                assert torch.equal(model(**given).logits, full)
            with scope.Pruner("divprune@9").attach(model) as pruning:
                model(**given)
    finally:
        hook.remove()
    stays = given["input_ids"][0] != any_type.PLACEHOLDER
    stays[(~stays).nonzero().flatten()] = pruning.receipt.selection.mask[0]
    assert int(stays.sum()) == 9 + 4
    assert torch.equal(read[2], read[0][stays])

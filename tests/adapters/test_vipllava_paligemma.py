"""ViP-LLaVA and PaliGemma, whose features are one tensor: what they do not share with the rest."""

from __future__ import annotations

import offers
import pytest
import torch

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import feature_layers, tower_layers
from adapters.tiled import prompts, shared


def test_layers_above_the_highest_of_several_are_skipped() -> None:
    model, given, ran = shared("vipllava"), prompts("vipllava", [2, "1", 3]), []
    layers = tower_layers(model.model.vision_tower)
    hooks = [layer.mlp.register_forward_hook(lambda *_, index=i: ran.append(index)) for i, layer in enumerate(layers)]
    with scope.Pruner("scope@3").attach(model), torch.no_grad():
        model(**given.inputs)
    assert ran == [0, 1, 2]
    for hook in hooks:
        hook.remove()


def test_layers_of_the_call() -> None:
    model, given = shared("vipllava"), prompts("vipllava", [2, "1", 3])
    layers = {feature_layers(type(model.config)): [-1, -2, 2]}
    with scope.Pruner("scope@36").attach(model) as pruning, torch.no_grad():
        other = model(**given.inputs, **layers).logits
        first = pruning.receipt.selection.tokens.features
        model(**given.inputs)
    with torch.no_grad():
        assert torch.equal(model(**given.inputs, **layers).logits, other)
    assert not torch.equal(pruning.receipt.selection.tokens.features, first)


@pytest.mark.parametrize("name", ["vipllava", "paligemma"])
def test_plans_are_what_happens(name: str) -> None:
    model, given = shared(name), prompts(name, [2, "1", 3, "1"])
    pruner = keeping(5, saliency="received_attention")
    plan = pruner.plan([(30, 999), (7, 5)], model=model)
    with pruner.attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    assert [(image.tokens, image.kept) for image in pruning.receipt.images] == [(36, 5), (36, 5)]
    assert [image.tokens for image in plan.layout.images] == [36, 36]
    assert plan.images == (5, 5)


@offers.encoder_outputs
@pytest.mark.parametrize("name", ["vipllava", "paligemma", "gemma3", "internvl"])
def test_features_go_to_generate_as_a_list_and_to_the_model_as_a_tensor(name: str) -> None:
    """Else beams would deal pictures of several prompts out wrongly, or the model could not read them."""
    model, given = shared(name), prompts(name, [2, "1", 4], ["1", 9, "1"])
    seen: list[object] = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs.get("mm_encoder_outputs")), with_kwargs=True
    )
    with keeping([4, 2, 3], saliency="received_attention").attach(model):
        model.generate(**given.inputs, max_new_tokens=2, do_sample=False, num_beams=2)
    hook.remove()
    assert [len(rows) for rows in seen[0]["image"].pooler_output] == [4, 4, 2, 3, 2, 3]


def test_a_training_step_reaches_the_projector() -> None:
    model, given = shared("paligemma"), prompts("paligemma", [2, "1", 4])
    labels = given.ids.masked_fill(given.ids == 150, -100)
    with keeping(4, saliency="received_attention").attach(model):
        model(**given.inputs, labels=labels).loss.backward()
    weight = model.model.multi_modal_projector.linear.weight
    assert weight.grad is not None
    assert bool(weight.grad.abs().sum() > 0)
    model.zero_grad(set_to_none=True)

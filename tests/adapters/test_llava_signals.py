"""Signals that the one-layer probe gives: against attention maps of the same weights, and against the oracles."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor, nn

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import features_of, projection, tower_layers
from adapters.models import LAYERS, MODELS, PATCHES, TWO, batch, eager, llava, shared, tokens_of
from adapters.reference import tower_pass
from scope_adapters.towers.layouts import resolve_tower
from scope_adapters.towers.probe import probe

HEADS = 4


def attach(model: Any, saliency: dict[str, Any], **options: Any) -> scope.Attachment:
    return scope.Pruner({"recipe": "scope", "budget": 4, "saliency": saliency, **options}).attach(model)


def tokens_seen(model: Any, given: Any, saliency: dict[str, Any], **options: Any) -> scope.VisualTokens:
    with attach(model, saliency, **options) as pruning, torch.no_grad():
        model(**given.inputs)
    return pruning.receipt.selection.tokens


def eager_pass(model: Any, pixels: Tensor) -> Any:
    with torch.no_grad():
        return eager(model).model.vision_tower(pixels, output_hidden_states=True, output_attentions=True)


@pytest.mark.parametrize("layer", [-1, -2, -LAYERS, 1, 3])
@pytest.mark.parametrize("name", ["clip", "clip-eager", "dinov2", "clip-full", "clip-last-layer"])
def test_cls_attention_is_that_of_the_eager_tower(name: str, layer: int) -> None:
    model, given = shared(name), batch(*TWO, tokens=tokens_of(name))
    got = tokens_seen(model, given, {"name": "cls_attention", "layer": layer}).signal(f"vision.cls_attention[{layer}]")
    maps = eager_pass(model, given.pixels).attentions
    wanted = maps[layer if layer < 0 else layer - 1][:, :, 0, -tokens_of(name) :]
    assert got.shape == (3, HEADS, tokens_of(name))
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    assert got.std() > 1e-3  # a flat map would prove little


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_received_attention_is_that_of_the_eager_tower(name: str) -> None:
    model, given = shared(name), batch(*TWO)
    got = tokens_seen(model, given, {"name": "received_attention"}).signal("vision.received_attention[-2]")
    wanted = eager_pass(model, given.pixels).attentions[-2].mean(2)[:, :, -PATCHES:]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_attention_of_all_heads_rounds_as_released_in_half_precision(name: str) -> None:
    """The full-width head of PruMerge, and the mean over heads before that over queries of HiPrune, to the last bit."""
    model, given = llava(name).to(torch.bfloat16), batch(*TWO)
    tower, flat = resolve_tower(model.model.vision_tower, "tower"), {}
    hooks = [
        projection(tower.layers[-2], part).register_forward_hook(lambda _, __, out, part=part: flat.update({part: out}))
        for part in ("query", "key")
    ]
    needs = {"vision.mean_attention[-2]"} | ({"vision.joint_attention[-2]"} if tower.layout.cls else set())
    with torch.no_grad(), probe(tower, frozenset(needs), dtype=None) as capture:
        model.model.vision_tower(given.pixels.to(torch.bfloat16))
    for hook in hooks:
        hook.remove()
    got = {signal: compute() for signal, compute in capture.signals(frozenset(needs), PATCHES).items()}
    query, key = flat["query"], flat["key"]
    heads = [part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (query, key)]
    maps = (heads[0] @ heads[1].mT * heads[0].shape[-1] ** -0.5).softmax(-1)
    assert got["vision.mean_attention[-2]"].equal(maps.mean(1).mean(1)[:, -PATCHES:])
    if tower.layout.cls:
        joint = ((query @ key.mT) * query.shape[-1] ** -0.5).softmax(-1)[:, 0, 1:]
        assert got["vision.joint_attention[-2]"].equal(joint)


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_signals_are_those_of_the_oracles(name: str) -> None:
    """From q and k themselves, in float64, by the slow way."""
    model, given = shared(name), batch(*TWO)
    tower = resolve_tower(model.model.vision_tower, "tower")
    flat: dict[str, Tensor] = {}
    hooks = [
        projection(tower.layers[-2], name).register_forward_hook(lambda _, __, out, name=name: flat.update({name: out}))
        for name in ("query", "key")
    ]
    needs = {"vision.received_attention[-2]", "vision.keys[-2]"} | (
        {"vision.cls_attention[-2]"} if tower.layout.cls else set()
    )
    with torch.no_grad(), probe(tower, frozenset(needs), dtype=torch.float32) as capture:
        model.model.vision_tower(given.pixels)
    for hook in hooks:
        hook.remove()
    got = {signal: compute() for signal, compute in capture.signals(frozenset(needs), PATCHES).items()}
    prefix = int(tower.layout.cls)
    for image in range(3):
        q, k = (
            flat[name][image].view(PATCHES + prefix, HEADS, -1).transpose(0, 1).numpy() for name in ("query", "key")
        )
        scale = q.shape[-1] ** -0.5
        np.testing.assert_allclose(
            got["vision.received_attention[-2]"][image], oracles.received_attention(q, k, prefix, scale), atol=1e-6
        )
        np.testing.assert_array_equal(got["vision.keys[-2]"][image], k[:, prefix:])
        if prefix:
            np.testing.assert_allclose(
                got["vision.cls_attention[-2]"][image], oracles.cls_attention(q[:, 0], k, scale), atol=1e-6
            )


@pytest.mark.parametrize("name", MODELS)
def test_features_are_what_the_projector_is_given(name: str) -> None:
    model, given = shared(name), batch(*TWO, tokens=tokens_of(name))
    got = tokens_seen(model, given, {"name": "received_attention"})
    torch.testing.assert_close(got.features, tower_pass(model, given.pixels)[0], atol=1e-4, rtol=1e-4)
    prefix = tokens_of(name) - PATCHES
    grid = [[-1, -1]] * prefix + [[row, col] for row in range(4) for col in range(4)]
    assert torch.stack([got.row[0], got.col[0]], 1).tolist() == grid
    if name == "clip":
        with torch.no_grad():
            states = model.model.vision_tower(given.pixels, output_hidden_states=True).hidden_states
        assert torch.equal(got.features, states[-2][:, 1:])


def test_projected_features() -> None:
    model, given = shared("clip"), batch(*TWO)
    with torch.no_grad():
        wanted = torch.stack(features_of(model, pixel_values=given.pixels))
    assert torch.equal(tokens_seen(model, given, {"name": "feature_norm"}, at="projected").features, wanted)


def test_feature_width_of_several_layers() -> None:
    model, given = shared("clip-two-layers"), batch(*TWO)
    got = tokens_seen(model, given, {"name": "cls_attention"})
    with torch.no_grad():
        states = model.model.vision_tower(given.pixels, output_hidden_states=True).hidden_states
    assert torch.equal(got.features, torch.cat([states[-2][:, 1:], states[-3][:, 1:]], -1))


# layers after the last one that anybody reads


def mlps(model: Any) -> list[nn.Module]:
    return [layer.mlp for layer in resolve_tower(model.model.vision_tower, "tower").layers]


@pytest.mark.parametrize(
    ("options", "saliency", "run"),
    [
        ({}, {"name": "cls_attention"}, [1, 1, 1, 0]),
        ({"layer": -3}, {"name": "feature_norm"}, [1, 1, 0, 0]),
        ({"layer": 1}, {"name": "feature_norm"}, [1, 0, 0, 0]),
        ({"layer": [-2, 1]}, {"name": "feature_norm"}, [1, 1, 1, 0]),
        ({"layer": -1}, {"name": "cls_attention"}, [1, 1, 1, 1]),
        ({"layer": -3}, {"name": "cls_attention", "layer": -1}, [1, 1, 1, 1]),
        ({"tower": "siglip"}, {"name": "received_attention"}, [1, 1, 1, 0]),
        ({"tower": "dinov2"}, {"name": "cls_attention"}, [1, 1, 1, 0]),
    ],
    ids=str,
)
def test_unused_layers_are_skipped_with_identical_results(
    options: dict[str, Any], saliency: dict[str, Any], run: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = llava(**options), batch(*TWO)
    layers = [layer.forward for layer in resolve_tower(model.model.vision_tower, "tower").layers]
    with torch.no_grad():
        full = torch.stack(features_of(model, pixel_values=given.pixels))
    runs = [0] * LAYERS

    def count(index: int) -> None:
        runs[index] += 1

    hooks = [mlp.register_forward_hook(lambda *_, index=index: count(index)) for index, mlp in enumerate(mlps(model))]
    scattered: list[Tensor] = []
    scatter = torch.Tensor.masked_scatter
    with monkeypatch.context() as patch:
        patch.setattr(
            torch.Tensor, "masked_scatter", lambda s, mask, rows: scattered.append(rows) or scatter(s, mask, rows)
        )
        with attach(model, saliency) as pruning, torch.no_grad():
            model(**given.inputs)
    assert runs == run
    kept = pruning.receipt.selection.kept
    assert torch.equal(scattered[0], torch.cat([full[image, kept[image]] for image in range(3)]))
    assert [layer.forward for layer in resolve_tower(model.model.vision_tower, "tower").layers] == layers
    model(**given.inputs)
    assert runs == [count + 1 for count in run]
    for hook in hooks:
        hook.remove()


# refused when attaching


def refusal(model: Any, saliency: Any, error: type[Exception] = scope.SignalError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        attach(model, saliency, **options)
    assert "forward" not in vars(model)
    return str(caught.value)


def test_cls_attention_without_cls() -> None:
    text = refusal(shared("siglip"), {"name": "cls_attention"})
    for word in (
        "saliency 'cls_attention'",
        "vision.cls_attention[-2]",
        "LlavaForConditionalGeneration",
        "SiglipVisionModel",
        "no CLS token",
    ):
        assert word in text
    assert re.search(r"would work: [^;]*\breceived_attention\b", text)
    assert "scope-core" in text


@pytest.mark.parametrize("layer", [0, LAYERS + 1, -LAYERS - 1, -24])
def test_layers_the_tower_does_not_have(layer: int) -> None:
    text = refusal(shared("clip"), {"name": "cls_attention", "layer": layer})
    assert f"vision.cls_attention[{layer}]" in text
    assert f"vision.cls_attention[-{LAYERS}..-1]" in text


def test_unknown_interception_point() -> None:
    text = refusal(shared("clip"), {"name": "cls_attention"}, scope.SpecError, at="projectd")
    assert "did you mean 'projected'?" in text
    assert "vision" in text


def test_a_projection_that_never_runs() -> None:
    """A fused attention put in its place bypasses q_proj: said, rather than scored by nothing."""
    model, given = llava(), batch(*TWO)
    attention = tower_layers(model.model.vision_tower)[-2].self_attn
    attention.forward = lambda hidden_states, *_, **__: (hidden_states, None)
    with (
        keeping(4).attach(model),
        pytest.raises(scope.AttachError, match=r"did not pass through its (query|key) projection"),
    ):
        model(**given.inputs)
    assert attention.q_proj._forward_hooks == {}

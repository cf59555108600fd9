"""What can be served is decided when the engine starts, from the configuration alone: no engine runs here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scope_core as scope
from scope_adapters.serving import tower
from scope_adapters.serving.geometry import geometry_of
from scope_adapters.serving.register import ARCHITECTURES
from scope_adapters.serving.served import KEY, Served, written
from scope_adapters.serving.worker import ImageTiles, batches

DROP = {"name": "llava_next", "newlines": "drop"}


def config(model_type: str, pruner: Any = "scope@64", **changes: Any) -> Any:
    """Of the size of the 7B models: 24 layers, 336 pixels."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaNextConfig

    kind = {"llava": LlavaConfig, "llava_next": LlavaNextConfig}[model_type]
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=24, num_attention_heads=4, image_size=336, patch_size=14
    )
    made = kind(vision_config=vision, text_config=LlamaConfig(hidden_size=32), **changes)
    setattr(made, KEY, pruner)
    return made


TOP = {"name": "cells", "keep": [[0, column] for column in range(24)]}
"""The first row of patches stays."""

REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "was given the architecture .* but no pruner"),
    "a name that is not there": ("sope@64", "did you mean 'scope'"),
    "an option that is not there": ({"recipe": "scope", "buget": 64}, "did you mean 'budget'"),
    "text": (
        "mmtok@64",
        r"text_facility_location' .* needs text.embeddings, .* vLLM encodes an image apart .* would work",
    ),
    "text of CLIP": ("cdpruner@64", "clip.text_similarity"),
    "inside the language model": ("fastv", r"decoder\[2\]': in vLLM the prompt has the same length in all layers"),
    "several stages": ("pyramiddrop", r"decoder\[8\]"),
    "a budget that looks at the picture": (
        "prumerge",
        "budget 'iqr' .* depends on the image.* that would work: .*tokens",
    ),
    "a layer that vLLM does not build": (
        {"recipe": "scope", "budget": 64, "saliency": {"name": "cls_attention", "layer": -1}},
        "builds the vision tower only up to layer -2",
    ),
    "positions": ({"recipe": "scope", "budget": 64, "positions": "original"}, "'original' .* omit `positions`"),
    "one budget for all": (
        {"recipe": "scope", "budget": {"name": "tokens", "keep": 64, "per": "total"}},
        r"images must not share a budget: two images .* \(32, 32\) .* alone \(64, 64\)",
    ),
    "one selection for all": ({"recipe": "scope", "budget": 64, "partition": "prompt"}, "must not share a budget"),
    "another model's adapter": (
        {"recipe": "scope", "budget": 64, "adapter": "qwen2_vl"},
        "adapter 'qwen2_vl' does not fit this model; use adapter 'llava'",
    ),
    "more than there is": ("scope@577", "keeps 577 per image, but image 0 has 576"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_with_the_reason(name: str) -> None:
    pruner, message = REFUSED[name]
    with pytest.raises((ValueError, LookupError), match=re.compile(message, re.DOTALL)) as caught:
        Served(config("llava", pruner))
    if "cannot be served" in str(caught.value):
        assert re.search("Recipes that vLLM can serve: .*coverage_only, .*scope, ", str(caught.value))
        assert "attach(model, signals" not in str(caught.value)


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"recipe": "scope", "budget": 160, "adapter": DROP | {"newlines": "keep_if_row_kept"}}, "newlines: keep`"),
        (
            {"recipe": "scope", "budget": 160, "order": "picks"},
            "newline tokens between the rows stay; drop them with `adapter: ",
        ),
        ({"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 0.1, "per": "total"}}, "share a budget"),
    ],
)
def test_tiles_have_reasons_of_their_own(pruner: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Served(config("llava_next", pruner))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_feature_layer": [-2, -3]}, "features of several layers"),
        ({"vision_feature_select_strategy": "class"}, "'default' .* and 'full'"),
        ({"model_type": "mistral3"}, "'mistral3' cannot be served .* supported: llava, llava_next"),
    ],
)
def test_models_that_are_not_served_are_refused(changes: dict[str, Any], message: str) -> None:
    made = config("llava")
    made.image_token_index = 4
    for name, value in changes.items():
        object.__setattr__(made, name, value) if name != "model_type" else made.__dict__.update(model_type=value)
    with pytest.raises(scope.AdapterError, match=message):
        Served(made)


def test_a_tower_of_another_family_is_refused() -> None:
    from transformers import PixtralVisionConfig

    made = config("llava")
    made.vision_config = PixtralVisionConfig()
    with pytest.raises(
        scope.AdapterError, match="'pixtral' cannot be served with pruning; supported: clip_vision_model, sig"
    ):
        Served(made)


def test_specs_are_written_so_that_they_read_back_as_the_same() -> None:
    for name in scope.default_registry().names("recipe"):
        recipe = scope.default_registry().get("recipe", name).item
        pruner = scope.Pruner({"recipe": name, "budget": recipe.spec.get("budget", 64)})
        if not pruner.spec.then:
            again = scope.Pruner(json.loads(written(pruner)))
            assert (again.spec, again.label) == (pruner.spec, pruner.label)
    cleared = scope.Pruner({"recipe": "visionzip", "budget": 64, "order": "raster", "merger": "none"})
    assert scope.Pruner(json.loads(written(cleared))).spec.to_dict() == cleared.spec.to_dict()


def test_a_budget_that_only_some_pictures_can_meet() -> None:
    """Those that cannot are refused when they come."""
    served = Served(config("llava_next", "scope@2600"))
    assert served.largest == (672, 672)
    assert served.check_rows(served.default, (672, 672)) == 2600 + 48
    with pytest.raises(ValueError, match=r"100 x 300 pixels: budget 'tokens' keeps 2600 .* set `if_short: keep_all`"):
        served.check_rows(served.default, (300, 100))
    with pytest.raises(ValueError, match="keeps 2881 per image, but image 0 has 2880"):
        Served(config("llava_next", "scope@2881"))


def test_the_engine_reads_spec_files_and_requests_do_not(tmp_path: Path) -> None:
    file = tmp_path / "pruner.yaml"
    file.write_text("recipe: scope\nbudget: 64\n")
    served = Served(config("llava", str(file)))
    assert served.default == Served(config("llava", "scope@64")).default
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)  # whoever opens it waits for ever
    for value in (
        str(file), str(tmp_path / "pruner.YAML"), "pruner.Json", "C:\\spec", pipe,
        {"saliency": {"name": "weighted_heads", "file": pipe}},
        {"saliency": {"name": "weighted_heads", "file": "pipe"}},
        {"recipe": "scope", "budget": 9, "saliency": {"name": "debiased", "of": "feature_norm", "file": pipe}},
        {"selector": {"name": "chain", "steps": [{"name": "greedy", "saliency": {"name": "acme", "map": pipe}}]}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is a file, and requests cannot name files"):
            served.asked(value)


def test_whoever_wrote_a_part_is_in_the_key() -> None:
    """Two engines that share a cache may have two releases of a plugin."""
    served = Served(config("llava", {"recipe": "scope", "saliency": "example.local_contrast", "budget": 64}))
    assert "scope-example-plugin 0.1.0" in served.identity(served.default)
    assert served.identity(served.asked(32)) != served.identity(served.default)


def test_what_must_stay_has_to_fit_into_a_requests_budget() -> None:
    """Or the engine would end where pictures are encoded."""
    served = Served(config("llava", {"recipe": "scope", "budget": 128, "constraints": [TOP]}))
    assert served.check_rows(served.asked(100), (336, 336)) == 100
    with pytest.raises(ValueError, match=r"visual_pruner: .*24"):
        served.check_rows(served.asked(16), (336, 336))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(height=st.integers(1, 3000), width=st.integers(1, 3000), keep=st.integers(1, 600), drop=st.booleans())
def test_what_is_promised_is_what_hugging_face_would_keep(height: int, width: int, keep: int, drop: bool) -> None:
    """The adapter's own layout, which the tests of adapters hold against the model."""
    from scope_adapters.adapters.llava_next import LlavaNext, LlavaNextSpec

    spec = {"recipe": "scope", "budget": keep, "adapter": DROP if drop else {"name": "llava_next"}}
    adapter = LlavaNext(LlavaNextSpec(newlines="drop" if drop else "keep"))
    layout = adapter.layout(huggingface(), [(height, width)])
    served = Served(config("llava_next", spec))
    assert served.rows(served.default, (height, width)) == keep + layout.images[0].separators
    assert served.rows(served.default, (height, width)) <= served.rows(served.default, served.largest)
    assert served.geometry(served.default).tiles((height, width)) == len(layout.images[0].tiles)


_made: list[Any] = []


def huggingface() -> Any:
    """A LLaVA-NeXT with hardly any weights and the sizes of `config`."""
    if not _made:
        from transformers import LlavaNextForConditionalGeneration

        small = config("llava_next")
        small.text_config.num_hidden_layers, small.text_config.intermediate_size = 1, 32
        small.text_config.vocab_size = 32100
        _made.append(LlavaNextForConditionalGeneration(small))
    return _made[0]


@given(tiles=st.lists(st.integers(1, 5), max_size=12), at_once=st.integers(1, 9))
def test_batches_hold_all_pictures_in_order_and_no_more_tiles_than_allowed(tiles: list[int], at_once: int) -> None:
    pictures = [ImageTiles(torch.empty(count, 1), (number, 1), "") for number, count in enumerate(tiles)]
    made = list(batches(pictures, at_once))
    assert [picture.size for batch in made for picture in batch] == [picture.size for picture in pictures]
    for batch in made:
        assert len(batch) == 1 or sum(len(picture.tiles) for picture in batch) <= at_once


class Attention(torch.nn.Module):
    """As vLLM's, on one rank."""

    num_heads_per_partition, head_dim, scale, tp_size = 2, 4, 0.5, 1

    def __init__(self) -> None:
        super().__init__()
        self.qkv_proj = torch.nn.Linear(8, 24)


def layered(count: int) -> Any:
    model = torch.nn.Module()
    layers = [torch.nn.Module() for _ in range(count)]
    for layer in layers:
        layer.self_attn = Attention()
    encoder = SimpleNamespace(layers=torch.nn.ModuleList(layers))
    return SimpleNamespace(vision_tower=SimpleNamespace(vision_model=SimpleNamespace(encoder=encoder)), made=model)


def test_a_layer_that_bypasses_its_projection_is_told() -> None:
    geometry, model = geometry_of(config("llava")), layered(23)
    found = tower.resolved(model, geometry.tower)
    assert [layer is None for layer in found.layers] == [False] * 23 + [True]
    needs = frozenset({"vision.cls_attention[-2]"})
    with tower.watch(found, needs) as capture:
        pass
    with pytest.raises(scope.AttachError, match="layer 22 did not pass through its"):
        tower.signals(capture, needs, 576)
    found.layers[22].self_attn.qkv_proj = torch.nn.Linear(8, 16)  # query and key, and value elsewhere
    with tower.watch(found, needs), pytest.raises(scope.AttachError, match=r"expected .* 24"):
        found.layers[22].self_attn.qkv_proj(torch.randn(1, 577, 8))


def test_a_tower_that_has_moved_is_told() -> None:
    geometry, model = geometry_of(config("llava")), layered(23)
    for layer in model.vision_tower.vision_model.encoder.layers:
        layer.self_attn.qkv = layer.self_attn.qkv_proj
        del layer.self_attn.qkv_proj
    with pytest.raises(scope.AdapterError, match="no 'qkv_proj'"):
        tower.resolved(model, geometry.tower)


def test_signals_are_those_of_the_fused_projection() -> None:
    """CLS's row of attention in float64, head by head."""
    geometry, model = geometry_of(config("llava")), layered(23)
    found, hidden = tower.resolved(model, geometry.tower), torch.randn(2, 10, 8)
    needs = frozenset(f"vision.{name}" for name in ("cls_attention[-2]", "keys[-3]", "joint_attention[-2]"))
    needs |= {"vision.mean_attention[-2]"}
    with tower.watch(found, needs) as capture:
        fused = [found.layers[index].self_attn.qkv_proj(hidden) for index in (21, 22)]
    got = tower.signals(capture, needs, 9)
    query, key = (fused[1][..., part * 8 : part * 8 + 8].double() for part in (0, 1))
    for head in range(2):
        own = slice(4 * head, 4 * head + 4)
        row = (query[:, :1, own] @ key[..., own].transpose(1, 2) * 0.5).softmax(-1)[:, 0, 1:]
        torch.testing.assert_close(got["vision.cls_attention[-2]"][:, head].double(), row)
        torch.testing.assert_close(got["vision.keys[-3]"][:, head], fused[0][:, 1:, 8:16][..., own])
    joint = (query[:, :1] @ key.transpose(1, 2) * 8**-0.5).softmax(-1)[:, 0, 1:]
    torch.testing.assert_close(got["vision.joint_attention[-2]"].double(), joint)
    heads = [(query[..., own] @ key[..., own].transpose(1, 2) * 0.5).softmax(-1) for own in (slice(4), slice(4, 8))]
    torch.testing.assert_close(got["vision.mean_attention[-2]"].double(), (sum(heads) / 2).mean(1)[:, 1:])
    assert not found.layers[22].self_attn.qkv_proj._forward_hooks


def test_without_the_plugin_the_engine_does_not_start(llava: Path) -> None:
    """Rather than serve unpruned."""
    overrides = {"architectures": [ARCHITECTURES["llava"]], KEY: "scope@64"}
    code = f"from vllm import EngineArgs; EngineArgs({str(llava)!r}, hf_overrides={overrides!r}).create_model_config()"
    elsewhere = {**os.environ, "VLLM_PLUGINS": "another"}
    done = subprocess.run([sys.executable, "-c", code], env=elsewhere, text=True, capture_output=True, check=False)
    assert done.returncode != 0
    assert f"Model architectures ['{ARCHITECTURES['llava']}'] are not supported" in done.stderr


def test_a_calibration_of_another_tower_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "heads.json"
    options = {"name": "weighted_heads", "weights": None, "file": None, "signal": "vision.cls_attention[-2]"}
    for layers in (24, 12):
        numbers = f"a tower of {layers} layers, 4 heads, width 64"
        made = scope.parts.Calibration("heads", options, "a-tower", numbers, 5, (0.25,) * 4)
        file.write_text(made.to_text(), "utf-8")
        pruner = {"recipe": "scope", "saliency": {"name": "weighted_heads", "file": str(file)}, "budget": 64}
        if layers == 24:
            Served(config("llava", pruner))
            continue
        with pytest.raises(scope.ScopeError, match=r"measured on 'a-tower' \(a tower of 12 layers"):
            Served(config("llava", pruner))
